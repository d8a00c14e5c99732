"""The book's colours: Okabe and Ito's, which stay apart for colour-blind readers."""

BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"
INDIGO, BLACK = "#332288", "#222222"
COLOURS = {"loss": GREY, "reconstruction": BLUE, "mu": ORANGE, "log_var": GREEN, "z": PINK}
TEN = [
    BLUE,
    ORANGE,
    GREEN,
    PINK,
    "#B8860B",
    INDIGO,
    "#882255",
    "#117733",
    "#000000",
    "#CC3311",
]
