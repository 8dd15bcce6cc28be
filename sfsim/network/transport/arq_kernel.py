"""Selective-repeat ARQ, frame by frame: a numba kernel."""

import numpy as np
from numba import njit

FINISHED, MORE_LUCK, MORE_ROOM = 0, 1, 2


@njit(cache=True)
def run(
    lost: np.ndarray,
    met: np.ndarray,
    memory: int,
    num_frames: int,
    frame_s: float,
    last_s: float,
    answer_s: float,
    attempts: int,
    given_up: np.ndarray,
    queue: np.ndarray,
    due_s: np.ndarray,
    tries: np.ndarray,
    out: np.ndarray,
) -> int:
    """Send `num_frames` until all have arrived or are given up.

    A frame whose acknowledgement is not there `answer_s` after its last bit left is sent again as soon as the
    line is free, before frames that were never sent. All timers run equally long, so that a ring holds them
    in the order in which they expire.

    Parameters
    ----------
    lost : (n,) bool
        Whether the i-th transmission is lost.
    met : (n,) bool
        Set where `lost` was asked.
    memory : int
        While the line stands idle, `lost` moves on by the frames that it could have carried, but not by more than this.
    num_frames : int
    frame_s, last_s : float
        What a full frame and the last one take on the line, in s.
    answer_s : float
        From the last bit of a frame to its time-out, in s.
    attempts : int
        How often a frame is sent at most.
    given_up : (num_frames,) bool
        Set for the frames that never arrived.
    queue, due_s, tries : (m,) int64, float64, int64
        Room for the ring.
    out : (4,) float64
        Instant at which the last bit of the last frame that arrived left; of any frame; transmissions;
        transmissions of the last frame.
    """
    room = len(queue)
    first = last = 0
    now_s = arrived_s = 0.0
    fresh = sent = sent_last = at = 0
    while True:
        if first != last and (due_s[first] <= now_s or fresh == num_frames):
            frame, attempt = queue[first], tries[first]
            if due_s[first] > now_s:
                at += min(int((due_s[first] - now_s) / frame_s), memory)
                now_s = due_s[first]
            first += 1
            if first == room:
                first = 0
        elif fresh < num_frames:
            frame, attempt = fresh, 0
            fresh += 1
        else:
            break
        if at >= len(lost):
            return MORE_LUCK
        if frame == num_frames - 1:
            now_s += last_s
            sent_last += 1
        else:
            now_s += frame_s
        met[at] = True
        if not lost[at]:
            arrived_s = now_s
        elif attempt + 1 < attempts:
            queue[last], due_s[last], tries[last] = frame, now_s + answer_s, attempt + 1
            last += 1
            if last == room:
                last = 0
            if last == first:
                return MORE_ROOM
        else:
            given_up[frame] = True
        sent += 1
        at += 1
    out[0], out[1], out[2], out[3] = arrived_s, now_s, sent, sent_last
    return FINISHED
