"""Draw the picture that chats and networks show beside a link to the book."""

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

SIZE = (1200, 630)
GROUND, INK, EDGE = "#0b4a5e", "#ffffff", "#f2a541"


def draw_preview(title, digits, target):
    """Set the title beside the digits of the first page."""
    picture = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(picture)
    drawn = Image.open(digits).convert("RGB")
    drawn.thumbnail((620, SIZE[1] - 80))
    picture.paste(drawn, (SIZE[0] - drawn.width - 40, (SIZE[1] - drawn.height) // 2))
    family = font_manager.FontProperties(family="DejaVu Serif", weight="bold")
    font = ImageFont.truetype(font_manager.findfont(family), 64)
    room = SIZE[0] - drawn.width - 120
    lines = wrapped(title, font, room)
    top = SIZE[1] // 2 - 40 * len(lines)
    draw.rectangle((40, top - 30, 160, top - 22), fill=EDGE)
    for number, line in enumerate(lines):
        draw.text((40, top + 80 * number), line, fill=INK, font=font)
    picture.save(target, optimize=True)


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
