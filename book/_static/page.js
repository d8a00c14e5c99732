// Definitions of terms on hover and focus, boxes that keys can scroll, folds that open for print.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  let shown = null; // the tooltip that is to be seen

  const hide = () => {
    if (shown) shown.hidden = true;
    shown = null;
  };

  const show = (link) => {
    const tip = document.getElementById(link.getAttribute("aria-describedby"));
    if (tip === shown) return;
    hide();
    tip.hidden = false;
    const box = link.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const above = box.top > tip.offsetHeight + 8;
    tip.style.left = `${window.scrollX + Math.max(8, Math.min(box.left, room))}px`;
    tip.style.top = `${window.scrollY + (above ? box.top - tip.offsetHeight : box.bottom)}px`;
    shown = tip;
  };

  // A tip goes when the pointer has left both the term and the tip.
  const leave = (link) => {
    setTimeout(() => {
      if (shown && !shown.matches(":hover") && !link.matches(":hover, :focus")) hide();
    }, 150);
  };

  for (const link of document.querySelectorAll("a.term")) {
    link.addEventListener("mouseenter", () => show(link));
    link.addEventListener("focus", () => show(link));
    link.addEventListener("mouseleave", () => leave(link));
    link.addEventListener("blur", hide);
    const tip = document.getElementById(link.getAttribute("aria-describedby"));
    document.body.append(tip); // out of boxes that clip
    tip.addEventListener("mouseleave", () => leave(link));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });

  // What scrolls sideways can be scrolled by keys. The theme does this for code alone.
  const boxes = "div.math, .pst-scrollable-table-container, .output";
  const reach = () => {
    for (const box of document.querySelectorAll(boxes)) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  };
  window.addEventListener("resize", reach);
  window.addEventListener("load", () => {
    reach();
    window.MathJax?.startup?.promise?.then(reach);
  });

  // What a reader folded comes back as it was after printing.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
  });
});
