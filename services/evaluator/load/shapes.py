"""How load comes and goes: users as a share of the peak, over shares of the time. Pure."""

from itertools import accumulate

# profile -> stages of (share of the time, share of the peak)
PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "mix": ((1.0, 1.0),),
    "soak": ((1.0, 1.0),),
    "lines": ((1.0, 1.0),),
    "step": tuple((1 / 6, step / 6) for step in range(1, 7)),
    "spike": ((0.35, 0.1), (0.2, 1.0), (0.45, 0.1)),
}


def users_at(profile: str, progress: float, peak: int) -> int:
    """Users at `progress` (0 to 1) of a run with `peak` users; at least one."""
    stages = PROFILES[profile]
    ends = accumulate(share for share, _ in stages)
    share = next((of_peak for end, (_, of_peak) in zip(ends, stages, strict=True) if progress < end), stages[-1][1])
    return max(1, round(share * peak))
