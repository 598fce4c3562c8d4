/**
 * The colours and type of the page, handed to Vega.
 *
 * In: the custom properties that styles.css sets for light and dark. Out: a [`Theme`] and Vega-Lite's
 * `config`. Deliberately absent: a second list of colours; styles.css has the only one.
 */
import type { Config } from "vega-lite";

/** The colours charts use. */
export interface Theme {
  ink: string;
  soft: string;
  grid: string;
  paper: string;
  warm: string;
  cool: string;
  rain: string;
  point: string;
  series: string[];
  font: string;
}

/** Reads the colours that hold now. */
export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement);
  const property = (name: string): string => style.getPropertyValue(name).trim();
  return {
    ink: property("--ink"),
    soft: property("--soft"),
    grid: property("--line"),
    paper: property("--paper"),
    warm: property("--warm"),
    cool: property("--cool"),
    rain: property("--rain"),
    point: property("--point"),
    series: [1, 2, 3, 4, 5, 6].map((n) => property(`--series-${n}`)),
    font: property("--sans"),
  };
}

/** Quiet axes, no frame, the page's type. */
export function config(theme: Theme): Config {
  return {
    background: "transparent",
    font: theme.font,
    view: { stroke: null },
    axis: {
      labelColor: theme.soft,
      titleColor: theme.soft,
      labelFontSize: 12,
      titleFontSize: 12,
      titleFontWeight: "normal",
      labelFontWeight: "normal",
      domain: false,
      ticks: false,
      gridColor: theme.grid,
      gridWidth: 1,
      labelPadding: 8,
      titlePadding: 10,
    },
    legend: {
      orient: "top",
      direction: "horizontal",
      title: null,
      labelColor: theme.ink,
      labelFontSize: 13,
      symbolType: "stroke",
      symbolStrokeWidth: 2.5,
      symbolSize: 220,
      columnPadding: 18,
      offset: 10,
    },
  };
}
