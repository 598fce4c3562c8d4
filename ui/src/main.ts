/**
 * What every page loads: the styles, and what makes its server-rendered parts nicer to use.
 *
 * In: the HTML the server rendered, which works without this. Out: the date range applies as soon
 * as it changes, the ledger is scrolled to its newest day, and charts are drawn (their code is
 * loaded only where there are any). Deliberately absent: state; it is in the address.
 */
import "./styles.css";

/**
 * Applies the date range when one of its two dates changes. A date picked with the pointer applies at
 * once; one that is being typed is complete only when its field is left (or with Enter), since every
 * digit of a year makes another valid date.
 */
function applyRangeOnChange(): void {
  const form = document.querySelector<HTMLFormElement>("form.range");
  const from = form?.elements.namedItem("from");
  const to = form?.elements.namedItem("to");
  if (!form || !(from instanceof HTMLInputElement) || !(to instanceof HTMLInputElement)) return;
  let typed = false;
  const apply = (): void => {
    const changed = from.value !== from.defaultValue || to.value !== to.defaultValue;
    const inverted = from.value !== "" && to.value !== "" && from.value > to.value;
    to.setCustomValidity(inverted ? "The last day is before the first." : "");
    if (changed && form.reportValidity()) form.requestSubmit();
  };
  for (const input of [from, to]) {
    input.addEventListener("keydown", () => (typed = true));
    input.addEventListener("pointerdown", () => (typed = false));
    input.addEventListener("change", () => {
      to.setCustomValidity("");
      if (!typed) apply();
    });
    input.addEventListener("blur", () => {
      if (typed) apply();
      typed = false;
    });
  }
}

/** Time runs to the right: a grid wider than the screen starts at its newest day. */
function showNewestDay(): void {
  for (const grid of document.querySelectorAll(".ledger-scroll")) {
    grid.scrollLeft = grid.scrollWidth;
  }
}

applyRangeOnChange();
showNewestDay();
if (document.querySelector("figure.chart .plot") !== null) {
  void import("./charts").then(({ drawAll }) => drawAll());
}
