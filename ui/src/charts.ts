/**
 * Draws every chart of the page, and draws it again when the theme or the width changes.
 *
 * In: `figure.chart` elements, each with a `.plot` to draw in and its data beside it. Out: one SVG
 * each, and `data-drawn` on the figure with the number of its marks. Deliberately absent: `eval`.
 * The page's content policy forbids it, so expressions run in Vega's interpreter.
 */
import { parse, View, Warn } from "vega";
import { expressionInterpreter } from "vega-interpreter";
import { compile } from "vega-lite";

import type { ChartData, Row } from "./definition";
import { rowsOf } from "./definition";
import { POINTER, specOf, tipOf } from "./spec";
import { readTheme, type Theme } from "./theme";

/** One figure and what is drawn in it now. */
interface Drawing {
  figure: HTMLElement;
  plot: HTMLElement;
  data: ChartData;
  rows: Row[];
  view: View | null;
  width: number;
}

/** Draws all charts, and keeps them drawn. */
export async function drawAll(): Promise<void> {
  // Vega measures its labels: with the fallback font it would leave them the wrong space.
  await Promise.all([document.fonts.load("400 12px 'Source Sans 3'"), document.fonts.ready]);
  const drawings = [...document.querySelectorAll<HTMLElement>("figure.chart")].flatMap(read);
  const tip = tipElement();
  const draw = async (drawing: Drawing, theme: Theme): Promise<void> => {
    try {
      await redraw(drawing, theme, tip);
    } catch (error) {
      // One chart that cannot be drawn leaves the others and the tables standing.
      console.error(`the chart ${drawing.data.chart.title ?? ""} cannot be drawn`, error);
      drawing.plot.textContent = "This chart cannot be drawn; its rows are in the table below.";
    }
  };
  const all = (): Promise<void[]> => {
    const theme = readTheme();
    return Promise.all(drawings.map((drawing) => draw(drawing, theme)));
  };
  await all();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => void all());
  const observer = new ResizeObserver((entries) => {
    for (const entry of entries) {
      const drawing = drawings.find(({ plot }) => plot === entry.target);
      // Also the ticks depend on the width, so the chart is made again, not stretched.
      if (drawing !== undefined && widthOf(drawing.plot) !== drawing.width) {
        void draw(drawing, readTheme());
      }
    }
  });
  for (const { plot } of drawings) {
    observer.observe(plot);
    plot.addEventListener("pointerleave", () => hideTip(tip));
  }
  window.addEventListener("scroll", () => hideTip(tip), { passive: true });
}

function read(figure: HTMLElement): Drawing[] {
  const plot = figure.querySelector<HTMLElement>(".plot");
  const text = figure.querySelector('script[type="application/json"]')?.textContent;
  if (plot === null || text === null || text === undefined) return [];
  const data = JSON.parse(text) as ChartData;
  return [{ figure, plot, data, rows: rowsOf(data), view: null, width: 0 }];
}

function widthOf(plot: HTMLElement): number {
  return Math.floor(plot.clientWidth);
}

async function redraw(drawing: Drawing, theme: Theme, tip: HTMLElement): Promise<void> {
  const { figure, plot, data, rows } = drawing;
  drawing.width = widthOf(plot);
  const spec = compile(specOf(data, theme, drawing.width)).spec;
  // `ast`: expressions as syntax trees for the interpreter, instead of code for `eval`.
  const runtime = parse(spec, {}, { ast: true });
  const old = drawing.view;
  old?.finalize();
  const holder = document.createElement("div");
  const view = new View(runtime, {
    expr: expressionInterpreter,
    renderer: "svg",
    container: holder,
    hover: true,
    logLevel: Warn,
  });
  drawing.view = view;
  view.tooltip((_handler: unknown, event: MouseEvent, _item: unknown, value: unknown) => {
    showTip(tip, event, typeof value === "string" ? rows[Number(value)] : undefined, data);
  });
  await view.runAsync();
  // A later redraw has overtaken this one.
  if (drawing.view !== view) return;
  plot.replaceChildren(holder);
  figure.dataset["drawn"] = String(countMarks(holder));
}

/** The shapes that stand for data: not axes, legends, the pointer's rule, or bars of nothing. */
function countMarks(holder: HTMLElement): number {
  const marks = holder.querySelectorAll<SVGGraphicsElement>(
    `.role-mark:not([class*="${POINTER}_"]) > :is(path, line, circle, rect)`,
  );
  return [...marks].filter((mark) => {
    const { width, height } = mark.getBBox();
    const isBar = mark.closest(".mark-rect") !== null;
    return isBar ? width > 0 && height > 0 : width > 0 || height > 0;
  }).length;
}

function tipElement(): HTMLElement {
  const tip = document.createElement("div");
  tip.className = "tip";
  // It repeats what the table below the chart says.
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  return tip;
}

function hideTip(tip: HTMLElement): void {
  tip.classList.remove("shown");
}

function showTip(tip: HTMLElement, event: MouseEvent, row: Row | undefined, data: ChartData): void {
  if (row === undefined) {
    hideTip(tip);
    return;
  }
  const { heading, lines } = tipOf(data, row);
  const head = document.createElement("p");
  head.textContent = heading;
  const list = document.createElement("dl");
  for (const [label, value] of lines) {
    const term = document.createElement("dt");
    term.textContent = label;
    const text = document.createElement("dd");
    text.textContent = value;
    list.append(term, text);
  }
  tip.replaceChildren(...(heading === "" ? [list] : [head, list]));
  tip.classList.add("shown");
  // Beside the pointer, on the side that has room.
  const { offsetWidth: width, offsetHeight: height } = tip;
  const right = event.clientX + 16 + width < document.documentElement.clientWidth;
  const x = right ? event.clientX + 16 : Math.max(4, event.clientX - 16 - width);
  const y = Math.max(4, Math.min(event.clientY - height / 2, window.innerHeight - height - 4));
  tip.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
}
