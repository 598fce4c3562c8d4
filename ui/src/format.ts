/**
 * Values as words, the same way the server writes them (crates/web/src/format.rs).
 *
 * In: a value and its format. Out: text. Deliberately absent: the browser's time zone. A date is a
 * civil date: it is read as UTC and written as UTC.
 */
import type { Value, ValueFormat } from "./definition";

const DAY = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  timeZone: "UTC",
});

/** `2026-11-23` as `Mon, 23 Nov 2026`; anything else as it is. */
export function dayText(date: Value): string {
  if (typeof date !== "string" || !/^\d{4}-\d{2}-\d{2}$/.test(date)) return String(date ?? "–");
  return DAY.format(new Date(`${date}T00:00:00Z`));
}

/** A number in its format; `–` for none. */
export function numberText(value: Value, format: ValueFormat): string {
  if (typeof value !== "number") return value === null ? "–" : String(value);
  const scaled = format.percent ? value * 100 : value;
  const decimals =
    format.decimals === null
      ? { maximumFractionDigits: 6 }
      : { minimumFractionDigits: format.decimals, maximumFractionDigits: format.decimals };
  const digits = Math.abs(scaled).toLocaleString("en-US", decimals);
  const negative = scaled < 0 && /[1-9]/.test(digits);
  return `${negative ? "−" : ""}${digits}${format.percent ? "%" : ""}${
    format.unit === null ? "" : ` ${format.unit}`
  }`;
}

/** The d3 format of an axis; its ticks choose how many digits they need. */
export function axisFormat(format: ValueFormat): string {
  return format.percent ? "~%" : ",~f";
}
