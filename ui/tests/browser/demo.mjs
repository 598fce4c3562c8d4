/**
 * The program under test and the browser that looks at it.
 *
 * In: `DAYMARK_BIN` (default the debug build) and `CHROMIUM` (default Debian's). Out: a running
 * `daymark demo` on a free port with a folder of its own, and pages that fail on any console error.
 * Deliberately absent: sleeps; everything waits for a condition.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const PROGRAM =
  process.env.DAYMARK_BIN ?? fileURLToPath(new URL("../../../target/debug/daymark", import.meta.url));
const START_LIMIT_MS = 180_000;
const STOP_LIMIT_MS = 30_000;

/** Starts the demo; gives its address and how to stop it. */
export async function startDemo() {
  const folder = await mkdtemp(join(tmpdir(), "daymark-browser-"));
  const program = spawn(PROGRAM, ["demo", "--listen", "127.0.0.1:0", "--dir", join(folder, "demo")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = [];
  const exited = once(program, "exit");
  createInterface({ input: program.stderr }).on("line", (line) => said.push(line));
  const address = new Promise((found, failed) => {
    const limit = setTimeout(() => failed(new Error("no address in time")), START_LIMIT_MS);
    createInterface({ input: program.stdout }).on("line", (line) => {
      said.push(line);
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (match === null) return;
      clearTimeout(limit);
      found(match[0]);
    });
    program.on("error", failed);
    exited.then(([code, signal]) => failed(new Error(`the demo ended (${code ?? signal})`)), failed);
  });
  const stop = async () => {
    if (program.exitCode === null && program.signalCode === null) {
      program.kill("SIGTERM");
      const limit = setTimeout(() => program.kill("SIGKILL"), STOP_LIMIT_MS);
      await exited;
      clearTimeout(limit);
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { address: await address, stop, exited };
  } catch (error) {
    program.kill("SIGKILL");
    throw new Error(`${error.message}; the demo said:\n${said.join("\n")}\nits folder: ${folder}`);
  }
}

/** Starts the browser. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/**
 * A page, and the list of everything its console complained about: errors and warnings, violations of
 * the content policy, exceptions, failed requests, and requests to anywhere else.
 */
export async function openPage(browser, address, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    // A zone west of UTC moves every date that passes through the browser's own zone.
    timezoneId: "America/Los_Angeles",
    locale: "en-GB",
    ...options,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("requestfailed", (request) => complaints.push(`${request.url()} failed`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${address}/`) && !url.startsWith("data:")) complaints.push(`asked ${url}`);
  });
  return { page, complaints, close: () => context.close() };
}

/** Goes to a path and waits until every chart of the page is drawn. */
export async function visit(page, address, path) {
  const response = await page.goto(address + path);
  await allDrawn(page);
  return response;
}

/** Waits until every chart of the page is drawn. */
export async function allDrawn(page) {
  await page.waitForFunction(
    () =>
      document.readyState === "complete" &&
      [...document.querySelectorAll("figure.chart")].every(
        (figure) => figure.querySelector(".plot") === null || figure.dataset.drawn !== undefined,
      ),
  );
}

/** Kind and number of marks of every chart, in the page's order. */
export function marks(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("figure.chart")].map((figure) => ({
      kind: figure.dataset.kind,
      drawn: Number(figure.dataset.drawn ?? 0),
      // Every drawing as its shapes, to see whether two differ.
      shapes: [...figure.querySelectorAll(".role-mark > path")]
        .map((path) => path.getAttribute("d"))
        .join("|"),
    })),
  );
}
