/**
 * What the server says about a chart: the types of `plan::Chart` and of a query's result, as JSON.
 *
 * In: the text of a figure's `<script type="application/json">`. Out: a [`ChartData`] and its rows
 * as objects. Deliberately absent: checks of the definition; the server's plan has made them.
 */

/** How a number is written (`plan::ValueFormat`). */
export interface ValueFormat {
  /** Digits after the point; `null`: as few as the value needs. */
  decimals: number | null;
  /** Times 100, with `%`. */
  percent: boolean;
  /** What follows the number. */
  unit: string | null;
}

/** The kinds that are drawn here; tiles and tables are the server's. */
export type DrawnKind = "band" | "bars" | "lines" | "scatter";

/** `plan::Chart`, the fields a drawing needs. */
export interface Chart {
  kind: DrawnKind;
  title: string | null;
  x: string;
  y: string[];
  labels: string[];
  low: string | null;
  high: string | null;
  x_title: string | null;
  y_title: string | null;
  format: ValueFormat;
  x_format: ValueFormat;
}

/** A value of a row. Dates are `YYYY-MM-DD` and stay so. */
export type Value = string | number | boolean | null;

/** A column of the result. */
export interface Column {
  name: string;
  kind: "text" | "number" | "date" | "timestamp" | "boolean" | "json";
}

/** Everything one figure draws. */
export interface ChartData {
  chart: Chart;
  columns: Column[];
  rows: Value[][];
}

/** One row by column name. */
export type Row = Record<string, Value>;

/** The rows as objects. */
export function rowsOf(data: ChartData): Row[] {
  return data.rows.map((values) =>
    Object.fromEntries(data.columns.map((column, index) => [column.name, values[index] ?? null])),
  );
}

/** The words for the n-th column of `y`. */
export function labelOf(chart: Chart, index: number): string {
  return chart.labels[index] ?? words(chart.y[index] ?? "");
}

/** A column's name as words. */
export function words(column: string): string {
  return column.replaceAll("_", " ");
}
