"""Pairing heaps over flows: any number of them in two arrays, and a flow can leave from the middle.

A flow is in at most one heap of each kind; heap `kind` orders by ``keys[:, kind]``, smallest first, and keeps
child, next sibling and previous (parent or left sibling) in columns ``3 * kind`` and following of `links`. A
heap is known by its root, `NONE` when empty. Nothing is ever deleted lazily: memory does not grow with time.

Source: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap: a new form of self-adjusting heap",
Algorithmica 1 (1986).
"""

# mypy: disable-error-code="no-untyped-def"

from numba import njit


@njit(cache=True, forceinline=True, _nrt=False)
def meld(links, keys, kind, one, other):
    """Join two heaps; return the root."""
    if one < 0:
        return other
    if other < 0:
        return one
    if keys[other, kind] < keys[one, kind]:
        one, other = other, one
    child = 3 * kind
    old = links[one, child]
    links[other, child + 1] = old
    if old >= 0:
        links[old, child + 2] = other
    links[other, child + 2] = one
    links[one, child] = other
    return one


@njit(cache=True, forceinline=True, _nrt=False)
def insert(links, keys, kind, root, flow, key):
    """Put `flow` in; return the root."""
    child = 3 * kind
    keys[flow, kind] = key
    links[flow, child] = -1
    links[flow, child + 1] = -1
    links[flow, child + 2] = -1
    return meld(links, keys, kind, root, flow)


@njit(cache=True, _nrt=False)
def without_root(links, keys, kind, root):
    """Take the smallest out; return the new root."""
    child = 3 * kind
    first = links[root, child]
    stack = -1
    while first >= 0:
        one = first
        other = links[one, child + 1]
        links[one, child + 1] = -1
        links[one, child + 2] = -1
        if other < 0:
            first = -1
        else:
            first = links[other, child + 1]
            links[other, child + 1] = -1
            links[other, child + 2] = -1
            one = meld(links, keys, kind, one, other)
        links[one, child + 1] = stack
        stack = one
    rest = -1
    while stack >= 0:
        one = stack
        stack = links[one, child + 1]
        links[one, child + 1] = -1
        links[one, child + 2] = -1
        rest = meld(links, keys, kind, rest, one)
    return rest


@njit(cache=True, _nrt=False)
def remove(links, keys, kind, root, flow):
    """Take `flow` out, wherever it is; return the root."""
    rest = without_root(links, keys, kind, flow)
    if flow == root:
        return rest
    child = 3 * kind
    before = links[flow, child + 2]
    after = links[flow, child + 1]
    if links[before, child] == flow:
        links[before, child] = after
    else:
        links[before, child + 1] = after
    if after >= 0:
        links[after, child + 2] = before
    return meld(links, keys, kind, root, rest)
