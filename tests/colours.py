"""The colours of the style sheets' tokens in hexadecimal, as mail programs know them."""

import math
import re
from pathlib import Path

_OKLCH = re.compile(r"oklch\(([\d.]+)% ([\d.]+) ([\d.]+)\)")


def token_colours(tokens: Path) -> set[str]:
    """Return every colour of a file of tokens, light and dark, as "#rrggbb"."""
    found = _OKLCH.findall(tokens.read_text())
    return {"#ffffff"} | {_hexadecimal(float(light) / 100, float(chroma), float(hue)) for light, chroma, hue in found}


def _hexadecimal(light: float, chroma: float, hue: float) -> str:
    """Return a colour of OKLCH in sRGB, by the matrices of CSS Color 4; what sRGB has not is cut off."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(part, 0.0), 1.0))):02x}" for part in linear)


def _gamma(part: float) -> float:
    return 12.92 * part if part <= 0.0031308 else float(1.055 * part ** (1 / 2.4) - 0.055)
