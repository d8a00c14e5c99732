// A slider that goes through pictures: no library, no request, no global name.
//
// slides.py puts this file into one function per figure and calls start() at its end.

function start(script, given) {
  const waiting = document.querySelectorAll(".vaebook-slides:not([data-live])");
  const root = (script && script.closest(".vaebook-slides")) || waiting[waiting.length - 1];
  const [picture, text] = ["picture", "text"].map((name) =>
    root.querySelector(`.vaebook-slides-${name}`),
  );
  const slider = root.querySelector("input");
  const value = root.querySelector(".vaebook-explorer-value");
  const first = picture.src;

  // The text waits until the slider rests, so that a screen reader is not flooded.
  let rest = 0;
  function show() {
    const at = Number(slider.value);
    const data = given.pictures[at];
    picture.src = data ? `data:image/webp;base64,${data}` : first;
    picture.alt = `${given.alt} ${given.name} ${given.values[at]}.`;
    value.textContent = given.values[at];
    slider.setAttribute("aria-valuetext", given.values[at]);
    clearTimeout(rest);
    rest = setTimeout(() => {
      if (text.textContent !== given.texts[at]) text.textContent = given.texts[at];
    }, 300);
  }

  slider.addEventListener("input", show);
  // A notebook does not change cells, nor a book its page.
  slider.addEventListener("keydown", (event) => event.stopPropagation());
  root.dataset.live = "";
  root.querySelector(".vaebook-explorer-controls").hidden = false;
  show();
}
