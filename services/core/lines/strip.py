"""A picture of a line of digits -> a strip: float32 (28, width, 1) in [0, 1], white on black, digits about 20 px tall.

The line is looked for in a smoothed picture, so that noise does not hide it; the strip is cut from the picture itself,
so that the denoiser sees noise as it was trained on. A picture on MNIST's own grid keeps its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from services.core.enlarged import before_smoothing
from services.core.ink import EVEN_SPREAD, contrast_to
from services.core.lines.clutter import mean_size, without_stripes, without_thin_lines
from services.core.lines.rules import without_rules
from services.core.preprocessing import INK_SIDE, SIDE

Grey = NDArray[Any]  # uint8; OpenCV's stubs promise no type
Ink = NDArray[Any]  # float32 in [0, 1]
_Band = tuple[tuple[int, int, int, int], float, int]  # left, top, right, bottom; how tall a digit is; bands in all

MULTIPLE = 4  # of both sides, for the denoiser
MARGIN_PX = 6  # of paper before the first digit and after the last
MAX_WIDTH_PX = 896  # of a strip: some forty digits
WORKING_SIDE = 1536  # longer side of the picture that a line is looked for in

ENLARGED = 1.9  # times, at least, that a noisy picture may have been enlarged smoothly
MOST_ROWS = 128  # that it had before
LOOKED_AT = 64  # columns, to tell how many
GRAINY = 0.03  # standard deviation of noise that half of the picture shows; without noise most of it is even paper

NOISY = 0.07  # estimated standard deviation of noise, as for single digits
LEAST_CONTRAST = 0.06  # of full ink to paper
MEDIAN_OF = 4000  # values, more or less
INK_SHARE, FAINT_SHARE = 0.45, 0.2  # of full ink: what is brighter is ink, or may be
FAINT_TALLER = 1.6  # height of the band with faint ink to the one without, at most; shadows and textures are taller
FAINT_WIDER = 2.0  # width of its pieces likewise; pale ruled lines are wider
FAINT_BEYOND = 0.15  # of a digit's height: faint ink that reaches further beyond the band is part of it
SURE = 5.0  # ink stands out of smoothed noise by so many of its standard deviations
OWN_GRID = (0.75, 1.35)  # a scale in between is taken for 1: digits vary in size
OWN_GRID_NOISY = (0.55, np.inf)  # the same under noise, which hides their size and which resampling would change
MOST_SKEW = np.tan(np.radians(15))  # a steeper line is taken for something else
SMALL_PX = 12.0  # spread about the line of ink that may keep its pixels: of 20 px tall digits 6, with a scribble 10
SKEW_PX = 6.0  # rise over the length of the line that is worth making level
ENDS_PX, ENDS_SHARE = 5, 0.35  # columns looked at together, and their ink, to that of the fullest ones
STROKE_SHARE = 0.12  # width of a stroke to the height of a digit, as in MNIST
DISC_PX = 5  # strokes are made thicker with it
SECOND_LINE = 0.5  # height of another band of ink, to the first one's, that makes it a line

_WHITE = 255
_GREYS = np.arange(_WHITE + 1, dtype=np.uint8)[np.newaxis]
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_TO_SIGMA = float(np.sqrt(np.pi / 2) / 6)


@dataclass(frozen=True, slots=True)
class Strip:
    """The line that was found, and the way back: `to_picture` (2, 3) maps pixels of the strip to the picture's."""

    image: Ink  # (28, width, 1)
    to_picture: NDArray[np.float64]
    size: tuple[int, int]  # width and height of the picture
    lines: int = 1  # how many lines of ink the picture shows; the strip holds the heaviest

    def described(self) -> dict[str, Any]:
        """All but the image, as plain data."""
        return {"to_picture": self.to_picture.tolist(), "size": list(self.size), "lines": self.lines}

    @classmethod
    def from_description(cls, described: Mapping[str, Any], image: Ink) -> Self:
        """The strip again."""
        width, height = described["size"]
        return cls(image, np.array(described["to_picture"]), (width, height), described["lines"])

    def in_picture(self, boxes: NDArray[np.float32]) -> list[tuple[int, int, int, int]]:
        """Boxes (n, 4) of left, top, right, bottom on the strip as x, y, width, height in the picture."""
        if not len(boxes):
            return []
        corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]].astype(np.float64)
        there = corners @ self.to_picture[:, :2].T + self.to_picture[:, 2]
        low = np.clip(np.floor(there.min(axis=1) + 1e-6), 0, np.array(self.size) - 1).astype(int)
        high = np.clip(np.ceil(there.max(axis=1) - 1e-6), low + 1, self.size).astype(int)
        return [(int(x), int(y), int(right - x), int(end - y)) for (x, y), (right, end) in zip(low, high, strict=True)]


def find(grey: Grey) -> Strip | None:
    """The line of ink in a grey picture; None where nothing stands out from the paper."""
    height, width = grey.shape
    working = _working_size(grey)
    back = np.array([[width / working.shape[1], 0, 0], [0, height / working.shape[0], 0], [0, 0, 1]])
    white = _white(working)
    plain = without_stripes(white)
    ink, noise = _ink(working, _unit(white)) if plain is None else (_unit(white), 0.0)
    smooth, threshold, faint = _smooth(ink if plain is None else plain, noise)
    if smooth is None:
        return None
    mask = _over(smooth, threshold)
    noisy = noise > NOISY
    as_it_is = noisy or plain is not None
    level = without_rules(ink, smooth, mask, threshold) if plain is None else None
    slope, spread = _slope(mask) if level is None else (0.0, 0.0)
    if slope:
        levelled = _moved if as_it_is or spread <= SMALL_PX else _turned
        ink, level_to_sloping = levelled(ink, slope)
        smooth, _ = levelled(smooth, slope)
        mask = _over(smooth, threshold)
        back = back @ level_to_sloping
        level = without_rules(ink, smooth, mask, threshold) if plain is None else None
    if level is not None:
        ink, smooth = level
        mask = _over(smooth, threshold)
    thick = mask if noisy else without_thin_lines(mask)
    found = _band(thick)
    if found is None:
        return None
    if thick is mask and not as_it_is:
        found = _with_faint(found, mask, _over(smooth, faint))
    (left, top, right, bottom), tall, lines = found
    if thick is not mask:  # digits as thin as the lines over them went as well
        inked = np.flatnonzero(mask[top:bottom].any(axis=0))
        left, right = min(left, int(inked[0])), max(right, int(inked[-1]) + 1)
    scale = _scale(tall, bottom - top, OWN_GRID_NOISY if as_it_is else OWN_GRID)
    if scale == 1.0 and len(ink) > SIDE and (bottom - top > SIDE + 2 or plain is not None):
        top, bottom = _fullest(smooth[:, left:right])
    if as_it_is:
        left, right = _ends((ink if noisy else smooth)[top:bottom], left, right)
    strip, place = _strip(ink, (left, top, right, bottom), scale, thicken=not as_it_is)
    return Strip(strip[..., np.newaxis], (back @ place)[:2], (width, height), lines)


def padded(strip: Ink, width: int) -> Ink:
    """The strip, `width` pixels wide: mirrored at its end: noise that ends at once looks like a stroke."""
    return cv2.copyMakeBorder(strip, 0, 0, 0, width - strip.shape[1], cv2.BORDER_REFLECT_101)[..., np.newaxis]


def noise_of(ink: Ink) -> float:
    """Immerkaer's estimate of the standard deviation of noise, as in services/core/noise_level.py, for any size."""
    answer = cv2.filter2D(ink, cv2.CV_32F, _IMMERKAER)[1:-1, 1:-1]
    return float(cv2.norm(answer, cv2.NORM_L1)) / answer.size * _TO_SIGMA if answer.size else 0.0


def _grain(grey: Grey) -> float:
    """As `noise_of`, by the median: what half of the picture shows, so that strokes on even paper are none."""
    answer = np.abs(cv2.filter2D(_unit(grey), cv2.CV_32F, _IMMERKAER)[1:-1, 1:-1])
    return float(np.median(answer)) / (6 * 0.6745)


def _working_size(grey: Grey) -> Grey:
    """Pixels that were enlarged brought back to their own grid, and a large picture made smaller."""
    down, across = _repeats(grey), _repeats(grey.T)
    if down > 1 or across > 1:
        grey = grey[down // 2 :: down, across // 2 :: across]
    scale = min(WORKING_SIDE / max(grey.shape), 1.0)
    if scale < 1.0:
        size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return _own_grid(grey)


def _own_grid(grey: Grey) -> Grey:
    """A noisy picture that was enlarged smoothly, as viewers and editors do, with as many pixels as it had before.

    Else its noise is coarser than any that the denoiser has seen. Of one without noise no grid can be told.
    """
    height, width = grey.shape
    most = min(int(height / ENLARGED), MOST_ROWS)
    if most < SIDE:
        return grey
    small = cv2.resize(grey, (max(width * SIDE // height, 3), SIDE), interpolation=cv2.INTER_LINEAR)
    if _grain(small) < GRAINY or noise_of(_unit(grey)) > NOISY:
        return grey
    some = np.ascontiguousarray(grey[:, :: -(-width // LOOKED_AT)])
    for rows in range(SIDE, most + 1):
        if before_smoothing(some, (some.shape[1], rows)) is None:
            continue
        for columns in _nearest(width * rows / height):
            found = before_smoothing(grey, (columns, rows))
            if found is not None and noise_of(_unit(found)) > NOISY:
                return found
    return grey


def _nearest(number: float) -> tuple[int, int]:
    """The two whole numbers beside this one, the nearer one first; 1 at least."""
    near = max(round(number), 1)
    return near, max(near + (1 if number > near else -1), 1)


def _repeats(grey: Grey) -> int:
    """How often each row is repeated: 1 but for noisy pictures enlarged pixel by pixel, where no two rows are alike."""
    if len(grey) < 2 or (grey[0] != grey[1]).any():
        return 1
    changes = np.flatnonzero((grey[1:] != grey[:-1]).any(axis=1)) + 1
    if len(changes) < 2:
        return 1
    repeats = int(np.gcd.reduce(changes))
    return repeats if len(grey) % repeats == 0 and len(changes) == len(grey) // repeats - 1 else 1


def _white(grey: Grey) -> Grey:
    """The picture as white ink on dark paper: turned round where its edge is bright."""
    return grey if 2 * _edge(grey).mean() <= _WHITE else cv2.bitwise_not(grey)


def _unit(grey: Grey) -> Ink:
    return grey * np.float32(1 / _WHITE)


def _edge(grey: Grey) -> Grey:
    return np.concatenate((grey[0], grey[-1], grey[:, 0], grey[:, -1]))


def _ink(grey: Grey, white: Ink) -> tuple[Ink, float]:
    """How much ink each pixel holds, in [0, 1], and the noise on it: `white` itself where noise is all over it."""
    noise = noise_of(white)
    if noise > NOISY:
        return white, noise
    edge = np.sort(_edge(grey))
    low, middle, high = (int(edge[len(edge) * share // 100]) for share in (5, 50, 95))
    if high - low <= EVEN_SPREAD:  # one paper: then ink is a matter of a pixel's grey alone
        counts = np.bincount(grey.ravel(), minlength=_WHITE + 1)
        dark = _energy(counts[middle::-1]) >= _energy(counts[middle:])
        contrast = contrast_to(np.full_like(_GREYS, middle), _GREYS, dark=dark)
        order = np.argsort(contrast[0], kind="stable")
        reached = np.cumsum(counts[order])
        ranks = grey.size - _strongest(grey.size) + 1, (grey.size + 1) // 2
        full, half = contrast[0, order[np.searchsorted(reached, ranks)]].tolist()
        return cv2.LUT(grey, _strength(contrast, full, half, middle)), noise
    paper = cv2.medianBlur(grey, min(max(round(0.7 * min(grey.shape)), 15), 255) | 1)
    darker, lighter = (np.bincount(each.ravel()) for each in (cv2.subtract(paper, grey), cv2.subtract(grey, paper)))
    contrast = contrast_to(paper, grey, dark=_energy(darker) >= _energy(lighter))
    return _strength(contrast, _full(contrast), _median(contrast), middle), noise


def _strength(contrast: Ink, full: float, half: float, paper: int) -> Ink:
    """Ink in [0, 1], given what contrast the strongest pixels reach, and half of all."""
    if full < LEAST_CONTRAST:
        return np.zeros_like(contrast)
    floor = min(max(4 * 1.4826 * half, full / 20 if paper not in (0, _WHITE) else 0.0), full / 3)
    return np.clip((contrast - floor) / (0.95 * full - floor), 0, 1).astype(np.float32)


def _energy(counts: NDArray[np.intp]) -> float:
    """Of pixels that are so far from paper, from 0 on; cubed, so that a few pixels of ink weigh more than texture."""
    return float(counts @ np.arange(len(counts), dtype=np.float64) ** 3)


def _full(ink: Ink) -> float:
    """What the strongest pixels reach, not what a single one does."""
    strongest = _strongest(ink.size)
    if np.count_nonzero(ink >= 1) >= strongest:
        return 1.0
    return float(np.partition(ink.ravel(), -strongest)[-strongest])


def _strongest(pixels: int) -> int:
    return min(max(pixels // 1000, 8), pixels)


def _median(values: Ink) -> float:
    """Of many values of a picture that many that it hardly matters."""
    few = values.ravel()[:: max(values.size // MEDIAN_OF, 1) | 1]
    return float(np.partition(few, len(few) // 2)[len(few) // 2])


def _smooth(ink: Ink, noise: float) -> tuple[Ink | None, float, float]:
    """The picture in which the line is looked for, and from where on it is ink, and faint ink; None: nothing is."""
    smooth = ink
    if noise > NOISY:
        sigma = 1 + 2 * min(noise, 1.0)
        smooth = cv2.GaussianBlur(ink, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    paper, grain = 0.0, 0.0
    if 2 * np.count_nonzero(smooth) >= smooth.size:  # else most is paper and the same
        paper = _median(smooth)
        grain = 1.4826 * _median(np.abs(smooth - np.float32(paper)))
    if noise > NOISY:  # what smoothing leaves of it; a digit that fills the picture is no grain
        grain = min(grain, noise / (2 * np.sqrt(np.pi) * sigma))
    full = _full(smooth)
    if full - paper < max(SURE * grain, LEAST_CONTRAST):
        return None, 1.0, 1.0
    threshold, faint = (paper + max(share * (full - paper), 3 * grain) for share in (INK_SHARE, FAINT_SHARE))
    return smooth, threshold, faint


def _over(ink: Ink, threshold: float) -> Grey:
    """1 where there is ink, 0 elsewhere."""
    return (ink > threshold).view(np.uint8)


def _slope(mask: Grey) -> tuple[float, float]:
    """A line fitted to all ink: its rise per pixel, 0 where it is level enough, and the spread about it."""
    of = cv2.moments(mask, binaryImage=True)
    across, along, down = of["mu20"], of["mu11"], of["mu02"]
    if of["m00"] < 3 or not across:
        return 0.0, 0.0
    slope = along / across
    length = cv2.boundingRect(mask)[2] - 1
    spread = np.sqrt(max(down - slope * along, 0.0) / of["m00"])
    if length < 8 * spread or abs(slope) * length < SKEW_PX or abs(slope) > MOST_SKEW:
        return 0.0, 0.0
    return float(slope), float(spread)


def _turned(ink: Ink, slope: float) -> tuple[Ink, NDArray[np.float64]]:
    """The picture with its line made level, and the way back (3, 3)."""
    height, width = ink.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(np.degrees(np.arctan(slope))), 1.0)
    turned = cv2.warpAffine(ink, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return turned, np.vstack([cv2.invertAffineTransform(matrix), [0, 0, 1]])


def _moved(ink: Ink, slope: float) -> tuple[Ink, NDArray[np.float64]]:
    """The same with columns moved by whole pixels; digits lean a little.

    A turn mixes pixels, and noise, scribbles and specks that are mixed are none that a denoiser has seen.
    """
    height, width = ink.shape
    back = np.array([[1, 0, 0], [slope, 1, -slope * width / 2], [0, 0, 1]])
    return cv2.warpAffine(ink, back[:2], (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP), back


def _band(mask: Grey) -> _Band | None:
    """The heaviest band of ink: its box, how tall a digit in it is, and how many bands there are in all."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count == 1:
        return None
    stats = stats[1:]
    heights, areas = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    tallest = _weighted_median(heights, areas)
    digits = (heights >= 0.4 * tallest) & (heights <= 2.5 * tallest)
    order = np.flatnonzero(digits)
    # components that share rows with one another are one line
    tops, ends = stats[order, cv2.CC_STAT_TOP], stats[order, cv2.CC_STAT_TOP] + heights[order]
    bands = _joined(tops, ends)
    weights = [areas[order[band]].sum() for band in bands]
    main = int(np.argmax(weights))
    members = order[bands[main]]
    top, bottom = int(tops[bands[main]].min()), int(ends[bands[main]].max())
    lefts = stats[members, cv2.CC_STAT_LEFT]
    left, right = int(lefts.min()), int((lefts + stats[members, cv2.CC_STAT_WIDTH]).max())
    tall = _weighted_median(heights[members], areas[members])
    lines = sum(bool(weight >= SECOND_LINE / 2 * weights[main]) for weight in weights)
    return (left, top, right, bottom), tall, lines


def _with_faint(found: _Band, mask: Grey, faint: Grey) -> _Band:
    """The band with digits that are fainter than the others, as motion leaves some; the same where there are none."""
    (left, top, right, bottom), tall, lines = found
    wider = _band(faint)
    if wider is None or wider[2] > 1:
        return found
    if lines > 1:  # unless strokes have faded and left bits above one another
        return wider if OWN_GRID[0] <= INK_SIDE / wider[1] <= OWN_GRID[1] else found
    (faint_left, faint_top, faint_right, faint_bottom), _, _ = wider
    beyond = max(left - faint_left, top - faint_top, faint_right - right, faint_bottom - bottom)
    higher = faint_bottom - faint_top > FAINT_TALLER * (bottom - top)
    if higher or beyond <= FAINT_BEYOND * tall or mean_size(faint)[1] > FAINT_WIDER * mean_size(mask)[1]:
        return found
    return wider


def _ends(band: Ink, left: int, right: int) -> tuple[int, int]:
    """Where the line begins and ends under noise: by sums over columns, which show what no single place does."""
    columns = cv2.blur(cv2.reduce(band, 0, cv2.REDUCE_AVG), (ENDS_PX, 1))[0]
    ordered = np.sort(columns)
    paper, full = ordered[len(ordered) * 5 // 100], ordered[len(ordered) * 95 // 100]
    inked = np.flatnonzero(columns > paper + ENDS_SHARE * (full - paper))
    return min(left, int(inked[0])), max(right, int(inked[-1]) + 1)


def _joined(tops: NDArray[Any], ends: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Intervals that overlap by more than a third of the shorter one, directly or through others, as groups."""
    groups: list[tuple[int, int, list[int]]] = []
    reach = int(ends.max(initial=0)) + 1
    intervals, which = np.unique(tops.astype(np.int64) * reach + ends, return_inverse=True)  # few, of many specks
    open_ones: list[int] = []  # groups that may still grow: intervals come by where they start
    for index, interval in enumerate(intervals.tolist()):
        top, end = divmod(interval, reach)
        open_ones = [place for place in open_ones if groups[place][1] > top]
        for place in open_ones:
            start, stop, members = groups[place]
            if 3 * (min(end, stop) - max(top, start)) > min(end - top, stop - start):
                members.append(index)
                groups[place] = (min(top, start), max(end, stop), members)
                break
        else:
            open_ones.append(len(groups))
            groups.append((top, end, [index]))
    group_of = np.empty(len(intervals), np.intp)
    for place, (_, _, members) in enumerate(groups):
        group_of[members] = place
    return [np.flatnonzero(group_of[which] == place) for place in range(len(groups))]


def _weighted_median(values: NDArray[Any], weights: NDArray[Any]) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def _scale(tall: float, band: int, own_grid: tuple[float, float]) -> float:
    """From the picture to the strip: digits about 20 px tall, and the whole band inside 28."""
    scale = INK_SIDE / tall
    if own_grid[0] <= scale <= own_grid[1]:
        return 1.0
    return min(scale, SIDE / band)


def _fullest(ink: Ink) -> tuple[int, int]:
    """The rows, as many as a strip has, that hold most ink: scribbles and stripes go beyond the digits."""
    in_the_middle = np.pad(np.ones(INK_SIDE), (SIDE - INK_SIDE) // 2)
    top = int(np.argmax(np.convolve(ink.sum(axis=1), 1 + in_the_middle, "valid")))
    return top, top + SIDE


def _strip(ink: Ink, box: tuple[int, int, int, int], scale: float, *, thicken: bool) -> tuple[Ink, NDArray[np.float64]]:
    """The box cut out at that scale with paper around it, and the way back to where it was (3, 3)."""
    left, top, right, bottom = box
    reach = (SIDE / scale - (bottom - top)) / 2
    margin = MARGIN_PX / scale
    x0, x1 = round(left - margin), round(right + margin)
    y0 = round(top - reach)
    y1 = y0 + max(round(SIDE / scale), 1)
    cut = _cut(ink, x0, y0, x1, y1)
    if thicken and scale < OWN_GRID[0]:
        cut = _thickened(cut, INK_SIDE / scale)
    width = min(max(round((x1 - x0) * scale), SIDE), MAX_WIDTH_PX)
    if cut.shape != (SIDE, width):
        inside = min(max(round((x1 - x0) * scale), 1), MAX_WIDTH_PX)
        cut = cv2.resize(cut, (inside, SIDE), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    spare = -(-width // MULTIPLE) * MULTIPLE - cut.shape[1]
    before = spare // 2
    across, down = (x1 - x0) / cut.shape[1], (y1 - y0) / SIDE
    strip = cv2.copyMakeBorder(cut, 0, 0, before, spare - before, cv2.BORDER_CONSTANT)
    place = np.array([[across, 0, x0 - before * across], [0, down, y0], [0, 0, 1.0]])
    return np.clip(strip, 0, 1).astype(np.float32), place


def _cut(ink: Ink, x0: int, y0: int, x1: int, y1: int) -> Ink:
    """A part of the picture that may reach beyond it, where there is paper."""
    height, width = ink.shape
    inside = ink[max(y0, 0) : max(min(y1, height), 0), max(x0, 0) : max(min(x1, width), 0)]
    missing = max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0)
    return cv2.copyMakeBorder(inside, *missing, cv2.BORDER_CONSTANT)


def _thickened(ink: Ink, tall: float) -> Ink:
    """A thin pen's strokes as wide as MNIST's, so that they do not fade when shrunk to 20 pixels."""
    mask = (ink > 0.5).astype(np.uint8)
    if not mask.any():
        return ink
    depth = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
    width = 4 * float(depth[depth > 0].mean())  # the mean depth of a bar of width w is w / 4
    missing = round(STROKE_SHARE * tall - width)
    if missing < 1:
        return ink
    # several small discs for one large one, which would take seconds where digits are large
    thicker = cv2.dilate(ink, _disc(DISC_PX), iterations=missing // (DISC_PX - 1))
    return cv2.dilate(thicker, _disc(missing % (DISC_PX - 1) + 1))


def _disc(size: int) -> NDArray[np.uint8]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)
