"""One 802.11 station that sends frames and repeats what is lost: a numba kernel."""

import numpy as np
from numba import njit

FINISHED, MORE_LUCK = 0, 1


@njit(cache=True)
def run(
    lost: np.ndarray,
    met: np.ndarray,
    memory: int,
    uniform: np.ndarray,
    num_frames: int,
    frame_s: float,
    last_s: float,
    gap_s: float,
    ack_s: float,
    timeout_s: float,
    slot_s: float,
    cw_min: int,
    cw_max: int,
    attempts: int,
    given_up: np.ndarray,
    out: np.ndarray,
) -> int:
    """Send `num_frames`, each at most `attempts` times.

    Parameters
    ----------
    lost, uniform : (n,) bool, float64
        Whether the i-th transmission is lost, and the draw of the back-off before it.
    met : (n,) bool
        Set where `lost` was asked.
    memory : int
        While the station backs off, `lost` moves on by the frames that fit, but not by more than this.
    num_frames : int
    frame_s, last_s : float
        Air time of a full frame and of the last one.
    gap_s : float
        DIFS, before every back-off and before the first frame, which has none.
    ack_s, timeout_s : float
        SIFS and acknowledgement after a frame that arrived; how long the station waits for it otherwise.
    slot_s, cw_min, cw_max : float, int, int
        The back-off: so many slots, uniform from 0 to the contention window.
    attempts : int
    given_up : (num_frames,) bool
        Set for the frames that never arrived.
    out : (4,) float64
        Instant at which the last bit of the last frame that arrived left; of any frame; transmissions;
        transmissions of the last frame.
    """
    now_s = arrived_s = left_s = 0.0
    sent = sent_last = at = 0
    for frame in range(num_frames):
        window = cw_min
        for attempt in range(attempts):
            if at >= len(lost) or sent >= len(uniform):
                return MORE_LUCK
            now_s += gap_s
            if sent:
                wait_s = int(uniform[sent] * (window + 1)) * slot_s
                at += min(int(wait_s / frame_s), memory)
                now_s += wait_s
            if frame == num_frames - 1:
                now_s += last_s
                sent_last += 1
            else:
                now_s += frame_s
            left_s = now_s
            if at >= len(lost):
                return MORE_LUCK
            met[at] = True
            arrived = not lost[at]
            sent += 1
            at += 1
            if arrived:
                arrived_s = now_s
                now_s += ack_s
                break
            now_s += timeout_s
            window = min(2 * window + 1, cw_max)
            if attempt == attempts - 1:
                given_up[frame] = True
    out[0], out[1], out[2], out[3] = arrived_s, left_s, sent, sent_last
    return FINISHED
