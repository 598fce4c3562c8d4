/**
 * From a chart's definition to a Vega-Lite specification.
 *
 * In: a [`ChartData`], the theme, the width. Out: a `TopLevelSpec`, and what the tooltip of a row
 * says. Deliberately absent: the DOM (charts.ts). Dates are read by `utc:'%Y-%m-%d'` and drawn on a
 * UTC scale, so no time zone can move them.
 */
import type { TopLevelSpec } from "vega-lite";

import { type Chart, type ChartData, labelOf, type Row, rowsOf, words } from "./definition";
import { axisFormat, dayText, numberText } from "./format";
import { config, type Theme } from "./theme";

type Layered = Extract<TopLevelSpec, { layer: unknown }>;
type Layer = Layered["layer"][number];
type XEncoding = NonNullable<NonNullable<Layered["encoding"]>["x"]>;

/** The field that says which row a mark stands for; a tooltip is looked up by it. */
const ROW = "__row";
/** The fields a folded row gets: which series, and its value. */
const SERIES = "__series";
const VALUE = "__value";

/** The name of the layer that follows the pointer; its marks are not data. */
export const POINTER = "pointer";

const HEIGHT = 260;

/** How x is to be read. */
type XKind = "date" | "timestamp" | "number" | "text";

/** The whole specification of one chart, `width` pixels wide. */
export function specOf(data: ChartData, theme: Theme, width: number): TopLevelSpec {
  const { chart } = data;
  const rows = rowsOf(data);
  const kind = xKind(data);
  const spec: Layered = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: describe(chart, rows),
    width,
    height: HEIGHT,
    autosize: { type: "fit", contains: "padding" },
    padding: { left: 2, right: 10, top: 4, bottom: 2 },
    data: {
      values: rows.map((row, index) => ({ ...row, [ROW]: String(index) })),
      format: { type: "json", parse: parseRule(chart.x, kind) },
    },
    encoding: { x: xEncoding(chart, kind, width) },
    layer: layers(chart, kind, theme, rows.length),
    config: config(theme),
  };
  return spec;
}

/** The heading of a row's tooltip, and its lines of words and value. */
export function tipOf(data: ChartData, row: Row): { heading: string; lines: [string, string][] } {
  const { chart } = data;
  const kind = xKind(data);
  const x = row[chart.x] ?? null;
  const lines: [string, string][] = [];
  let heading = String(x ?? "–");
  if (kind === "date") heading = dayText(x);
  if (kind === "number") {
    heading = typeof row["date"] === "string" ? dayText(row["date"]) : "";
    lines.push([chart.x_title ?? words(chart.x), numberText(x, chart.x_format)]);
  }
  if (chart.kind === "band") {
    lines.push([words(chart.high ?? ""), numberText(row[chart.high ?? ""] ?? null, chart.format)]);
    lines.push([words(chart.low ?? ""), numberText(row[chart.low ?? ""] ?? null, chart.format)]);
  } else {
    chart.y.forEach((column, index) => {
      const label =
        chart.y.length === 1 && chart.labels.length === 0
          ? (chart.y_title ?? labelOf(chart, index))
          : labelOf(chart, index);
      lines.push([label, numberText(row[column] ?? null, chart.format)]);
    });
  }
  return { heading, lines };
}

function xKind(data: ChartData): XKind {
  const kind = data.columns.find((column) => column.name === data.chart.x)?.kind;
  return kind === "date" || kind === "timestamp" || kind === "number" ? kind : "text";
}

function parseRule(x: string, kind: XKind): Record<string, string> | null {
  if (kind === "date") return { [x]: "utc:'%Y-%m-%d'" };
  return kind === "timestamp" ? { [x]: "date" } : null;
}

/** A sentence for those who do not see the drawing. */
function describe(chart: Chart, rows: Row[]): string {
  const title = chart.title ?? chart.kind;
  const first = rows[0]?.[chart.x];
  const last = rows.at(-1)?.[chart.x];
  return `${title}: ${rows.length} rows, ${words(chart.x)} from ${String(first)} to ${String(last)}.`;
}

function xEncoding(chart: Chart, kind: XKind, width: number): XEncoding {
  const tickCount = Math.max(3, Math.floor(width / 62));
  const field = escapeField(chart.x);
  if (kind === "date" || kind === "timestamp") {
    return {
      field,
      type: "temporal",
      // A bar is as wide as its day; a line's point needs no width.
      ...(chart.kind === "bars" && kind === "date" ? { timeUnit: "utcyearmonthdate" } : {}),
      scale: { type: "utc" },
      axis: {
        title: chart.x_title,
        grid: false,
        tickCount,
        labelExpr:
          "utcdate(datum.value) == 1 || utchours(datum.value) != 0" +
          " ? utcFormat(datum.value, utchours(datum.value) != 0 ? '%H:%M'" +
          " : utcmonth(datum.value) == 0 ? '%b %Y' : '%b')" +
          " : utcFormat(datum.value, '%-d %b')",
        labelFlush: true,
      },
    };
  }
  if (kind === "number") {
    return {
      field,
      type: "quantitative",
      scale: { zero: false, nice: true },
      axis: {
        title: chart.x_title,
        format: axisFormat(chart.x_format),
        tickCount,
        grid: chart.kind === "scatter",
      },
    };
  }
  return { field, type: "nominal", sort: null, axis: { title: chart.x_title, labelAngle: 0 } };
}

function yAxis(chart: Chart): object {
  return { title: chart.y_title, format: axisFormat(chart.format), tickCount: 5 };
}

function layers(chart: Chart, kind: XKind, theme: Theme, count: number): Layer[] {
  switch (chart.kind) {
    case "band":
      return band(chart, theme, count);
    case "bars":
      return bars(chart, theme);
    case "lines":
      return lines(chart, theme, count);
    case "scatter":
      return scatter(chart, kind, theme);
  }
}

function band(chart: Chart, theme: Theme, count: number): Layer[] {
  const low = escapeField(chart.low ?? "");
  const high = escapeField(chart.high ?? "");
  const scale = { zero: false, nice: true };
  const edge = (field: string, color: string): Layer => ({
    mark: { type: "line", color, strokeWidth: 1.75, interpolate: "monotone", point: dots(count, color) },
    encoding: { y: { field, type: "quantitative", axis: yAxis(chart) } },
  });
  return [
    {
      mark: { type: "area", color: theme.warm, opacity: 0.16, interpolate: "monotone" },
      encoding: {
        y: { field: low, type: "quantitative", scale, axis: yAxis(chart) },
        y2: { field: high },
      },
    },
    edge(high, theme.warm),
    edge(low, theme.cool),
    hover(theme),
  ];
}

function bars(chart: Chart, theme: Theme): Layer[] {
  const tooltip = { field: ROW, type: "nominal" as const };
  const [only] = chart.y;
  if (chart.y.length === 1 && only !== undefined) {
    return [
      {
        mark: { type: "bar", color: theme.rain, timeUnitBandSize: 0.78 },
        encoding: {
          y: { field: escapeField(only), type: "quantitative", axis: yAxis(chart) },
          tooltip,
        },
      },
    ];
  }
  return [
    {
      transform: folded(chart),
      mark: { type: "bar", timeUnitBandSize: 0.78 },
      encoding: {
        y: { field: VALUE, type: "quantitative", axis: yAxis(chart) },
        color: seriesColor(chart, theme),
        tooltip,
      },
    },
  ];
}

function lines(chart: Chart, theme: Theme, count: number): Layer[] {
  return [
    {
      transform: folded(chart),
      mark: { type: "line", strokeCap: "round", strokeJoin: "round", point: dots(count) },
      encoding: {
        y: {
          field: VALUE,
          type: "quantitative",
          scale: { zero: false, nice: true },
          axis: yAxis(chart),
        },
        color: seriesColor(chart, theme),
        // The first series is the subject, the others are read against it.
        strokeWidth: {
          condition: {
            test: `datum.${SERIES} == ${JSON.stringify(labelOf(chart, 0))}`,
            value: count > 150 ? 1.5 : 2.25,
          },
          value: count > 150 ? 1.25 : 1.5,
        },
      },
    },
    hover(theme),
  ];
}

function scatter(chart: Chart, kind: XKind, theme: Theme): Layer[] {
  const x = escapeField(chart.x);
  return chart.y.flatMap((column, index): Layer[] => {
    const y = escapeField(column);
    const color = chart.y.length === 1 ? theme.point : (theme.series[index] ?? theme.point);
    const points: Layer = {
      mark: { type: "circle", size: 58, color, opacity: 0.6, stroke: theme.paper, strokeWidth: 0.75 },
      encoding: {
        y: {
          field: y,
          type: "quantitative",
          scale: { zero: false, nice: true },
          axis: yAxis(chart),
        },
        tooltip: { field: ROW, type: "nominal" },
      },
    };
    // A regression over words has no meaning.
    if (kind !== "number") return [points];
    const fit: Layer = {
      transform: [
        { filter: `isValid(datum[${JSON.stringify(chart.x)}]) && isValid(datum[${JSON.stringify(column)}])` },
        { regression: y, on: x },
      ],
      mark: { type: "line", color: theme.ink, strokeWidth: 1.5, strokeDash: [5, 4], opacity: 0.75 },
      encoding: { y: { field: y, type: "quantitative" } },
    };
    return [points, fit];
  });
}

/** A rule at the row nearest to the pointer, which carries the tooltip. */
function hover(theme: Theme): Layer {
  return {
    name: POINTER,
    params: [
      {
        name: "near",
        select: { type: "point", encodings: ["x"], nearest: true, on: "pointermove", clear: "pointerout" },
      },
    ],
    mark: { type: "rule", color: theme.soft, strokeWidth: 1 },
    encoding: {
      opacity: { condition: { param: "near", empty: false, value: 0.7 }, value: 0 },
      tooltip: { field: ROW, type: "nominal" },
    },
  };
}

/** Few rows are shown as points too: one day alone is no line. */
function dots(count: number, color?: string): false | { size: number; filled: true; color?: string } {
  if (count > 14) return false;
  return { size: 34, filled: true, ...(color === undefined ? {} : { color }) };
}

function folded(chart: Chart): NonNullable<Layer["transform"]> {
  const names = chart.y.map((_, index) => JSON.stringify(labelOf(chart, index)));
  const chosen = chart.y
    .map((column, index) => `datum.${SERIES} == ${JSON.stringify(column)} ? ${names[index]}`)
    .join(" : ");
  return [
    { fold: chart.y.map(escapeField), as: [SERIES, VALUE] },
    { calculate: `${chosen} : datum.${SERIES}`, as: SERIES },
  ];
}

function seriesColor(chart: Chart, theme: Theme): object {
  const domain = chart.y.map((_, index) => labelOf(chart, index));
  const range = domain.map((_, index) => theme.series[index % theme.series.length]);
  return {
    field: SERIES,
    type: "nominal",
    scale: { domain, range },
    sort: null,
    legend: domain.length > 1 ? {} : null,
  };
}

/** Vega reads `a.b` and `a[b]` as paths; a column's name is one name. */
function escapeField(column: string): string {
  return column.replace(/[.[\]\\'"]/g, "\\$&");
}
