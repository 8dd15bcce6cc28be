"""TCP with SACK, packet by packet, over one first-in-first-out link that loses packets: a numba kernel.

There is no heap of events. Nothing overtakes anything on the way, so what the receiver answers to a packet is
known when that packet is sent, and acknowledgements wait in a ring in the order in which they will arrive.
The next event is then either the front of the ring or the retransmission timer.

The sender is that of ns-3 3.44 (RFC 5681, 6298, 6675, 6937, 8312), so that it can be compared with it flow by
flow: cumulative acknowledgements and SACK, a segment is lost once three later ones have arrived, proportional
rate reduction during recovery, CUBIC with its TCP-friendly region or Reno, round-trip times measured in
whole milliseconds by time stamps. Two of its habits decide how fast flows with much loss are, and are kept:
during recovery every SACK counts once more as a delivered segment, and the product that
spreads the reduction wraps at 32 bits.

Left out: HyStart, delayed acknowledgements, pacing, receiver windows, RACK and tail loss probes.
"""

from math import ceil, floor, inf

import numpy as np
from numba import njit

SACKED, RETRANSMITTED, LOST, ARRIVED = 1, 2, 4, 8
OPEN, DISORDER, RECOVERY, LOSS = 0, 1, 2, 3
BLOCKS, BLOCKS_SENT = 4, 3  # of SACK: what a receiver remembers, and what fits into an acknowledgement
DUPLICATES = 3  # later segments that must arrive before one counts as lost (RFC 6675, DupThresh)
MAX_RTO_S = 60.0
CUBIC_C, CUBIC_BETA, CUBIC_QUIET_S, CUBIC_CLAMP = 0.4, 0.7, 0.01, 20
FRIENDLY_EIGHTHS = int(8 * (1024 + CUBIC_BETA * 1024) / 3 / (1024 - CUBIC_BETA * 1024))
WRAP = (1 << 32) - 1
NO_THRESHOLD = 1 << 40

# What comes out of a run.
FINISHED, MORE_LUCK, MORE_ROOM, GAVE_UP = 0, 1, 2, 3


@njit(cache=True)
def run(
    lost: np.ndarray,
    met: np.ndarray,
    memory: int,
    max_timeouts: int,
    num_segments: int,
    last_bytes: int,
    cubic: bool,
    mss: int,
    head_bytes: int,
    byte_s: float,
    back_byte_s: float,
    delay_s: float,
    back_delay_s: float,
    min_rto_s: float,
    start_s: float,
    free_s: float,
    window: np.ndarray,
    flags: np.ndarray,
    ring_s: np.ndarray,
    ring_ack: np.ndarray,
    ring_sack: np.ndarray,
    ring_ms: np.ndarray,
    out: np.ndarray,
) -> int:
    """Send `num_segments` over an open connection and an idle line.

    Parameters
    ----------
    lost : (n,) bool
        Whether the i-th segment that is sent, repeats included, is lost.
    met : (n,) bool
        Set where `lost` was asked.
    memory : int
        While the sender waits for a time-out, `lost` moves on by the segments that the line could have carried
        meanwhile, but not by more than this.
    max_timeouts : int
        After so many time-outs in a row the connection is given up at the next.
    num_segments, last_bytes : int
        Segments, and the payload of the last one.
    cubic : bool
        CUBIC, or Reno.
    mss, head_bytes : int
        Payload and headers of a full segment; an acknowledgement has the same headers, and 8 bytes more for
        each of up to three blocks of SACK.
    byte_s, back_byte_s : float
        What a byte takes on the line there and back.
    delay_s, back_delay_s : float
        Propagation there and back.
    min_rto_s : float
    start_s, free_s : float
        When the sender may begin, and when the line is free for it.
    window : (5,) float64
        State of the sender, at the end too: window and threshold in bytes, smoothed round trip and its
        variation in s, CUBIC's last maximum in segments.
    flags : (num_segments,) uint8
        Zeros; what sender and receiver know of each segment.
    ring_s, ring_ack, ring_sack, ring_ms : (m,) float64, int64, int64, int64
        Room for the acknowledgements under way.
    out : (4,) float64
        When the last segment that was missing arrived; segments sent; their wire bytes; time-outs.

    Returns
    -------
    int
        FINISHED; GAVE_UP; or what was too short for the run: `lost` (MORE_LUCK) or the ring (MORE_ROOM).
    """
    size = len(ring_s)
    first = last = 0  # the ring: acknowledgements on their way
    cwnd, ssthresh = int(window[0]), int(window[1])
    srtt_s, rttvar_s = window[2], window[3]
    rto_s = max(srtt_s + max(0.001, 4 * rttvar_s), min_rto_s)
    w_max = int(window[4])
    timer_s = inf
    now = start_s
    back_free_s = 0.0
    # sender
    una = nxt = 0
    in_flight = 0
    state = OPEN
    duplicates = 0
    recover = 0
    recovering = False
    first_partial = True
    limited = True
    sampled_from = 0  # round trips are measured from this segment on
    top1 = top2 = top3 = -1  # the three highest segments that arrived out of order
    lost_below = 0
    repair_from = 0
    guess_from = 0
    prr_delivered = prr_out = prr_flight = 0
    # CUBIC
    w_count = acked_count = 0
    origin = friendly = 0
    k_s = 0.0
    delay_min_s = -1.0
    epoch_s = -1.0
    # receiver
    expected = 0
    echo_ms = 0
    low, high = np.zeros(BLOCKS, np.int64), np.zeros(BLOCKS, np.int64)  # of SACK, the latest first
    blocks = 0
    done_s = -1.0
    sent = timeouts = in_row = 0
    at = 0  # in `lost`
    sent_bytes = 0
    force = -1

    while True:
        # ---- send: what is forced, then what the window lets out
        while True:
            if force >= 0:
                seg = force
                force = -1
            else:
                room = cwnd - in_flight
                if room <= 0:
                    break
                highest = top1 if top1 >= 0 else nxt
                below = min(lost_below, highest)
                while repair_from < below and flags[repair_from] & (SACKED | RETRANSMITTED):
                    repair_from += 1
                if repair_from < below:
                    seg = repair_from
                elif nxt < num_segments:
                    seg = nxt
                elif state == RECOVERY:
                    guess_from = max(guess_from, lost_below, una)
                    while guess_from < highest and flags[guess_from] & (SACKED | RETRANSMITTED):
                        guess_from += 1
                    if guess_from >= highest:
                        break
                    seg = guess_from
                else:
                    break
                if room < mss and (seg < num_segments - 1 or room < last_bytes):
                    break
            num_bytes = last_bytes if seg == num_segments - 1 else mss
            if at >= len(lost):
                return MORE_LUCK
            if seg == nxt:
                nxt += 1
                in_flight += num_bytes
            elif not flags[seg] & RETRANSMITTED:
                flags[seg] |= RETRANSMITTED
                in_flight += num_bytes
            if state == RECOVERY:
                prr_out += num_bytes
            if timer_s == inf:
                timer_s = now + rto_s
            limited = cwnd < in_flight + mss
            free_s = max(free_s, now) + (num_bytes + head_bytes) * byte_s
            sent_bytes += num_bytes + head_bytes
            met[at] = True
            if not lost[at]:
                arrival_s = free_s + delay_s
                news = -1
                if seg == expected:
                    flags[seg] |= ARRIVED
                    echo_ms = floor(now * 1e3 + 1e-6)
                    expected += 1
                    while expected < nxt and flags[expected] & ARRIVED:
                        expected += 1
                    kept = 0
                    for place in range(blocks):
                        if high[place] > expected:
                            low[kept], high[kept] = low[place], high[place]
                            kept += 1
                    blocks = kept
                    if expected == num_segments:
                        done_s = arrival_s
                elif seg > expected and not flags[seg] & ARRIVED:
                    flags[seg] |= ARRIVED
                    news = seg
                    begin, end = seg, seg + 1
                    kept = 0
                    for place in range(blocks):
                        if high[place] == begin:
                            begin = low[place]
                        elif low[place] == end:
                            end = high[place]
                        else:
                            low[kept], high[kept] = low[place], high[place]
                            kept += 1
                    blocks = min(kept + 1, BLOCKS)
                    for place in range(blocks - 1, 0, -1):
                        low[place], high[place] = low[place - 1], high[place - 1]
                    low[0], high[0] = begin, end
                ack_bytes = head_bytes + 8 * min(blocks, BLOCKS_SENT)
                back_free_s = max(back_free_s, arrival_s) + ack_bytes * back_byte_s
                ring_s[last] = back_free_s + back_delay_s
                ring_ack[last] = expected
                ring_sack[last] = news
                ring_ms[last] = echo_ms
                last += 1
                if last == size:
                    last = 0
                if last == first:
                    return MORE_ROOM
            sent += 1
            at += 1

        if una == num_segments:
            break

        # ---- the next event
        if first != last and ring_s[first] <= timer_s:
            now = ring_s[first]
            ack = ring_ack[first]
            news = ring_sack[first]
            sent_ms = ring_ms[first]
            first += 1
            if first == size:
                first = 0
        else:
            # RFC 6298, 5: everything that has not arrived counts as lost
            now = timer_s
            timeouts += 1
            in_row += 1
            if in_row > max_timeouts:
                out[0] = now
                return GAVE_UP
            at += min(max(0, int((now - free_s) / ((mss + head_bytes) * byte_s))), memory)
            duplicates = 0
            for seg in range(una, nxt):
                if flags[seg] & SACKED:
                    flags[seg] &= ~RETRANSMITTED & 255
                else:
                    flags[seg] = (flags[seg] | LOST) & ~RETRANSMITTED & 255
            lost_below = nxt
            repair_from = una
            recover = nxt
            recovering = True
            rto_s = min(2 * rto_s, MAX_RTO_S)
            sampled_from = nxt
            if cubic:
                segments = cwnd // mss
                w_max = int(segments * (1 + CUBIC_BETA) / 2) if segments < w_max else segments
                ssthresh = max(int(segments * CUBIC_BETA), 2) * mss
                epoch_s = delay_min_s = -1.0
                acked_count = friendly = 0
            else:
                ssthresh = max(2 * mss, cwnd // 2)
            in_flight = 0
            state = LOSS
            cwnd = mss
            timer_s = inf
            continue

        # ---- an acknowledgement
        if ack > sampled_from and sampled_from < nxt:
            sampled_from = ack
            sample_s = (floor(now * 1e3 + 1e-6) - sent_ms) * 1e-3
            if sample_s <= 0:
                sample_s = 1e-6
            error_s = sample_s - srtt_s
            srtt_s += error_s / 8
            rttvar_s += (abs(error_s) - rttvar_s) / 4
            rto_s = max(srtt_s + max(0.001, 4 * rttvar_s), min_rto_s)

        delivered = 0
        if news >= 0 and not flags[news] & SACKED and news >= una:
            delivered = last_bytes if news == num_segments - 1 else mss
            if not flags[news] & LOST:
                in_flight -= delivered
            flags[news] = (flags[news] | SACKED) & ~LOST & 255
            if news > top1:
                top1, top2, top3 = news, top1, top2
            elif news > top2:
                top2, top3 = news, top2
            elif news > top3:
                top3 = news
            if top3 > lost_below:
                for seg in range(max(lost_below, una), top3):
                    if not flags[seg] & (SACKED | LOST):
                        flags[seg] |= LOST
                        in_flight -= mss
                lost_below = top3

        advanced = ack > una
        repair_acked = False
        old = una
        if advanced:
            in_row = 0
            while una < ack:
                num_bytes = last_bytes if una == num_segments - 1 else mss
                flag = flags[una]
                if not flag & SACKED:
                    delivered += num_bytes
                    if flag & RETRANSMITTED:
                        repair_acked = True
                    if not flag & LOST:
                        in_flight -= num_bytes
                if flag & RETRANSMITTED:
                    in_flight -= num_bytes
                una += 1
            repair_from = max(repair_from, una)
            lost_below = max(lost_below, una)
            if top3 < una:
                top3 = -1
                if top2 < una:
                    top2 = -1
                    if top1 < una:
                        top1 = -1
        repair_acked = repair_acked and state == RECOVERY and ack < recover

        # 0: no change of rate, 1: proportional rate reduction, 2: its beginning
        reduce = 0
        if not advanced:
            if delivered > 0 and state != LOSS:
                if state == RECOVERY:
                    reduce = 1
                else:
                    duplicates += 1
                    state = DISORDER
                    if (duplicates == DUPLICATES and (una >= recover or not recovering)) or flags[una] & LOST:
                        reduce = 2
                        if not flags[una] & LOST:
                            flags[una] |= LOST
                            in_flight -= last_bytes if una == num_segments - 1 else mss
                        recover = nxt
                        recovering = True
                        state = RECOVERY
                        if cubic:
                            segments = cwnd // mss
                            w_max = int(segments * (1 + CUBIC_BETA) / 2) if segments < w_max else segments
                            ssthresh = max(int(segments * CUBIC_BETA), 2) * mss
                            epoch_s = -1.0
                        else:
                            ssthresh = max(2 * mss, cwnd // 2)
                        prr_out = prr_delivered = 0
                        prr_flight = in_flight
                        force = una
            acked = 1
        else:
            acked = delivered // mss
            partial = state == RECOVERY and ack < recover
            if partial and acked >= 1:
                reduce = 1

        if reduce:
            if not advanced and prr_delivered < prr_flight:
                delivered += mss
            prr_delivered += delivered
            if in_flight > ssthresh:
                product = (prr_delivered * ssthresh) & WRAP
                count = ceil(product / prr_flight) - prr_out
            else:
                count = prr_delivered - prr_out
                if count >= 0:
                    count = max(count, delivered)
                if repair_acked:
                    count += mss
                count = min(count, ssthresh - in_flight)
            cwnd = in_flight + max(count, 0 if prr_out > 0 else mss)

        grow = 0
        restart = False
        leave = False
        if advanced:
            count_before = duplicates
            duplicates = 0
            if partial:
                if (
                    una >= nxt
                    or flags[una] & (SACKED | RETRANSMITTED) != RETRANSMITTED
                    or una == num_segments - 1
                ):
                    below = min(lost_below, top1 if top1 >= 0 else nxt)
                    while repair_from < below and flags[repair_from] & (SACKED | RETRANSMITTED):
                        repair_from += 1
                    if repair_from < below:
                        force = repair_from
                    elif nxt < num_segments:
                        force = nxt
                    else:
                        force = una
                acked = 1
                restart = first_partial
                first_partial = False
            elif state == LOSS and ack < recover:
                grow = acked
                restart = True
            else:
                if state == DISORDER:
                    grow = acked
                    acked = acked - count_before if acked >= count_before else -1
                    state = OPEN
                elif state == RECOVERY:
                    first_partial = True
                    acked = grow = ack - old
                    state = OPEN
                    leave = True
                elif state == LOSS:
                    first_partial = True
                    acked = grow = ack - recover
                    state = OPEN
                else:
                    grow = acked
                if ack >= recover:
                    recovering = False
                restart = True

        settled = epoch_s < 0 or now - epoch_s >= CUBIC_QUIET_S
        if acked >= 0 and settled and (delay_min_s < 0 or srtt_s < delay_min_s):
            delay_min_s = srtt_s
        if leave:
            cwnd = ssthresh
        if restart:
            rto_s = max(srtt_s + max(0.001, 4 * rttvar_s), min_rto_s)
            timer_s = now + rto_s
        if grow > 0 and limited:
            if cubic:
                if cwnd < ssthresh:
                    cwnd += grow * mss
                else:
                    w_count += grow
                    segments = cwnd // mss
                    acked_count += grow
                    if epoch_s < 0:
                        epoch_s = now
                        acked_count = grow
                        friendly = segments
                        if w_max <= segments:
                            k_s = 0.0
                            origin = segments
                        else:
                            k_s = ((w_max - segments) / CUBIC_C) ** (1 / 3)
                            origin = w_max
                    away_s = now + delay_min_s - epoch_s - k_s
                    change = int(CUBIC_C * abs(away_s) ** 3)
                    target = origin - change if away_s < 0 else origin + change
                    if target > segments:
                        count = segments // (target - segments)
                    else:
                        count = 100 * segments
                    if w_max == 0 and count > CUBIC_CLAMP:
                        count = CUBIC_CLAMP
                    change = (segments * FRIENDLY_EIGHTHS) >> 3
                    while acked_count > change:
                        acked_count -= change
                        friendly += 1
                    if friendly > segments:
                        count = min(count, segments // (friendly - segments))
                    count = max(count, 2)
                    if w_count >= count:
                        cwnd += mss
                        w_count -= count
            else:
                if cwnd < ssthresh:
                    cwnd = min(cwnd + grow * mss, ssthresh)
                else:
                    segments = max(cwnd // mss, 1)
                    if w_count >= segments:
                        w_count = 0
                        cwnd += mss
                    w_count += grow
                    cwnd += w_count // segments * mss
                    w_count %= segments

    window[0], window[1], window[2], window[3], window[4] = cwnd, ssthresh, srtt_s, rttvar_s, w_max
    out[0], out[1], out[2], out[3] = done_s, sent, sent_bytes, timeouts
    return FINISHED
