"""Draw the picture that chats and social networks show beside a link to the book."""

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

SIZE = (1200, 630)
GROUND, INK, EDGE = "#fdfcfa", "#0b4a5e", "#b3430b"
MARGIN = 60


def draw_preview(title, digits, target):
    """Set the title above the digits of the first page."""
    picture = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(picture)
    family = font_manager.FontProperties(family="DejaVu Serif", weight="bold")
    font = ImageFont.truetype(font_manager.findfont(family), 68)
    room = SIZE[0] - 2 * MARGIN
    lines = wrapped(title, font, room)
    draw.rectangle((0, 0, SIZE[0], 14), fill=EDGE)
    for number, line in enumerate(lines):
        draw.text((MARGIN, 56 + 84 * number), line, fill=INK, font=font)
    top = 80 + 84 * len(lines)
    drawn = Image.open(digits).convert("RGBA")
    drawn.thumbnail((room, SIZE[1] - top - 40), Image.Resampling.LANCZOS)
    picture.paste(drawn, ((SIZE[0] - drawn.width) // 2, top), drawn)
    few = picture.quantize(32, dither=Image.Dither.NONE)  # a third of the bytes, looks alike
    few.save(target, optimize=True)


def wrapped(text, font, room):
    """Break a text into lines that fit."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]
