/**
 * The dashboard and the ledger as a visitor sees them: the real program, the demo's data, a real
 * browser. With `UPDATE_SCREENSHOTS=1` it also makes the README's pictures.
 */
import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { allDrawn, marks, openPage, startBrowser, startDemo, visit } from "./demo.mjs";

const PHONE = { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true };
/** No element ends right of the screen. */
const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
/** The date `days` days after a date, both as `YYYY-MM-DD`. */
const plus = (date, days) =>
  new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10);

let demo;
let browser;
let pictures;

before(async () => {
  pictures =
    process.env.UPDATE_SCREENSHOTS === "1"
      ? fileURLToPath(new URL("../../../docs", import.meta.url))
      : await mkdtemp(join(tmpdir(), "daymark-pictures-"));
  [demo, browser] = await Promise.all([startDemo(), startBrowser()]);
});

after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Runs `look` on a page of its own and then asserts that nothing was complained about. */
async function looking(options, look) {
  const { page, complaints, close } = await openPage(browser, demo.address, options);
  try {
    await look(page);
    assert.deepEqual(complaints, []);
  } finally {
    await close();
  }
}

for (const colorScheme of ["light", "dark"]) {
  test(`every chart draws marks, in ${colorScheme}`, async () => {
    await looking({ colorScheme }, async (page) => {
      await visit(page, demo.address, "/");
      const drawn = await marks(page);
      assert.deepEqual(drawn.map(({ kind }) => kind).toSorted(), ["band", "bars", "lines", "scatter"]);
      for (const { kind, drawn: count } of drawn) assert.ok(count > 0, `${kind} drew nothing`);
      const dark = await page.evaluate(() => {
        const [red] = getComputedStyle(document.body).backgroundColor.match(/\d+/g) ?? [];
        return Number(red) < 128;
      });
      assert.equal(dark, colorScheme === "dark");
      // Down to the feet of the charts.
      await page.setViewportSize({ width: 1280, height: 1330 });
      await page.screenshot({ path: join(pictures, `dashboard-${colorScheme}.png`) });
    });
  });
}

test("charts follow the colour scheme without a reload", async () => {
  await looking({ colorScheme: "light" }, async (page) => {
    await visit(page, demo.address, "/");
    const label = () =>
      page.evaluate(() => document.querySelector("figure.chart svg text")?.getAttribute("fill"));
    const light = await label();
    await page.emulateMedia({ colorScheme: "dark" });
    await page.waitForFunction(
      (before) => document.querySelector("figure.chart svg text")?.getAttribute("fill") !== before,
      light,
    );
    assert.notEqual(await label(), light);
  });
});

test("tiles have values with the day they are of", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    const values = await page.locator(".tile .value").allInnerTexts();
    assert.ok(values.length >= 4, `${values.length} tiles`);
    for (const value of values) assert.match(value, /^[+−]?[\d,]+(\.\d+)?(%|\s°C)?$/);
    const notes = await page.locator(".tile .note").allInnerTexts();
    assert.equal(notes.length, values.length);
    for (const note of notes) assert.match(note, /\d{1,2} [A-Z][a-z]{2} \d{4}$/);
    const caption = await page.locator('figure[data-kind="scatter"] .caption').innerText();
    assert.match(caption, /[Cc]orrelation −?[01](\.\d+)? over \d+ market days/);
  });
});

test("the date range changes the marks and the address", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    const before = await marks(page);
    const to = await page.locator('input[name="to"]').inputValue();
    const from = plus(to, -20);
    await page.locator('input[name="from"]').fill(from);
    await page.waitForURL((url) => url.searchParams.get("from") === from);
    await allDrawn(page);
    assert.equal(new URL(page.url()).searchParams.get("to"), to);
    const after = await marks(page);
    for (const [index, { kind, drawn, shapes }] of after.entries()) {
      assert.ok(drawn > 0, `${kind} drew nothing`);
      assert.notEqual(shapes, before[index].shapes, `${kind} did not change`);
    }
    // The address is the whole state: a preset, back, and the same drawing as before.
    await page.locator(".presets a", { hasText: "30 days" }).click();
    await page.waitForURL((url) => url.searchParams.get("from") !== from);
    await allDrawn(page);
    await page.goBack();
    await allDrawn(page);
    assert.equal(await page.locator('input[name="from"]').inputValue(), from);
    assert.deepEqual(await marks(page), after);
  });
});

test("a typed date applies when its field is left, not while it is typed", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    const field = page.locator('input[name="from"]');
    const before = await field.inputValue();
    await page.evaluate(() => {
      globalThis.submits = 0;
      document.querySelector("form.range").addEventListener("submit", () => (globalThis.submits += 1));
    });
    // Which part of a date stands first is the browser's language's; a step down of any is a date.
    await field.press("ArrowDown");
    const from = await field.inputValue();
    assert.notEqual(from, before);
    assert.equal(await page.evaluate(() => globalThis.submits), 0);
    await field.blur();
    await page.waitForURL((url) => url.searchParams.get("from") === from);
    await allDrawn(page);
  });
});

test("dates are the same days in every time zone", async () => {
  const seen = [];
  for (const timezoneId of ["Pacific/Auckland", "America/Los_Angeles"]) {
    await looking({ timezoneId }, async (page) => {
      await visit(page, demo.address, "/");
      const axis = await page.locator('figure[data-kind="band"] .role-axis-label text').allInnerTexts();
      seen.push({ axis, shapes: await marks(page) });
    });
  }
  assert.ok(seen[0].axis.length > 2);
  assert.deepEqual(seen[0], seen[1]);
});

test("a chart says what is under the pointer", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    const plot = page.locator('figure[data-kind="lines"] .plot');
    await plot.scrollIntoViewIfNeeded();
    const box = await plot.boundingBox();
    await page.mouse.move(box.x + box.width / 2 - 5, box.y + box.height / 2);
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    const tip = page.locator(".tip.shown");
    await tip.waitFor();
    assert.match(await tip.innerText(), /\d{4}[\s\S]*Close\s+[\d,]+\.\d\d/i);
  });
});

test("the numbers can be read as a table and downloaded", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    assert.ok((await page.locator("figure.table tbody tr").count()) > 10);
    const figure = page.locator('figure[data-kind="lines"]');
    await figure.locator("summary").click();
    assert.ok(await figure.locator("tbody tr").first().isVisible());
    const csv = await page.request.get(demo.address + (await link(figure, "CSV")));
    const json = await page.request.get(demo.address + (await link(figure, "JSON")));
    const lines = (await csv.text()).trimEnd().split("\r\n");
    const rows = await json.json();
    assert.equal(lines.length, rows.length + 1);
    assert.equal(lines[0], Object.keys(rows[0]).join(","));
    assert.match(rows[0].date, /^\d{4}-\d{2}-\d{2}$/);
    assert.equal(typeof rows[0].close, "number");
  });
});

const link = (figure, name) => figure.locator(".downloads a", { hasText: name }).getAttribute("href");

test("an impossible range is refused with a sentence", async () => {
  const { page, close } = await openPage(browser, demo.address);
  try {
    for (const query of ["from=2026-11-02&to=2026-11-01", "from=soon", "to=2026-02-30"]) {
      const response = await page.goto(`${demo.address}/d/overview?${query}`);
      assert.equal(response.status(), 400, query);
      assert.match(await page.locator("main").innerText(), /is not a date|is after the last/);
    }
  } finally {
    await close();
  }
});

test("an empty range says so", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/d/overview?from=2001-01-01&to=2001-01-31");
    assert.equal(await page.getByText("No rows in this range.").count(), 5);
    assert.equal(await page.locator("figure.chart .plot").count(), 0);
  });
});

test("every page says that its numbers are generated, under the strict policy", async () => {
  const { page, close } = await openPage(browser, demo.address);
  try {
    for (const path of ["/", "/d/overview", "/ledger", "/nowhere", "/d/overview?from=x"]) {
      const response = await page.goto(demo.address + path);
      assert.ok(await page.locator(".generated").isVisible(), path);
      assert.match(await page.locator(".generated").innerText(), /generated/i);
      const policy = (await response.allHeaders())["content-security-policy"];
      assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self';/);
      assert.doesNotMatch(policy, /unsafe/);
    }
  } finally {
    await close();
  }
});

test("the ledger shows every day's state and the failed ones' reasons", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/ledger");
    const cells = page.locator("td.day");
    assert.ok((await cells.count()) >= 120);
    const states = await cells.evaluateAll((all) => all.map((cell) => cell.dataset.state));
    assert.ok(states.includes("published"));
    assert.ok(states.includes("holiday"));
    assert.ok(states.filter((state) => state === "failed").length >= 1);
    const titles = await cells.evaluateAll((all) => all.map((cell) => [cell.title, cell.innerText]));
    for (const [title, text] of titles) {
      assert.match(title, /^[a-z0-9-]+, \w{3} \d{1,2} \w{3} \d{4}: /);
      assert.ok(text.includes(title));
    }
    const failed = page.locator(".look li", { has: page.locator(".mark.failed") });
    assert.ok((await failed.count()) >= 1);
    for (const reason of await failed.locator(".reason").allInnerTexts()) {
      assert.ok(reason.length > 10 && !reason.includes("No reason"), reason);
    }
    assert.equal(await page.locator(".legend dt").count(), 9);
    await page.screenshot({ path: join(pictures, "ledger.png"), fullPage: true });
  });
});

for (const path of ["/", "/ledger"]) {
  test(`nothing is wider than a phone on ${path}`, async () => {
    await looking(PHONE, async (page) => {
      await visit(page, demo.address, path);
      assert.equal(await overflow(page), 0);
      for (const { kind, drawn } of await marks(page)) assert.ok(drawn > 0, `${kind} drew nothing`);
    });
  });
}

test("charts follow the width of the window", async () => {
  await looking({}, async (page) => {
    await visit(page, demo.address, "/");
    await page.setViewportSize({ width: 700, height: 900 });
    await page.waitForFunction(() =>
      [...document.querySelectorAll("figure.chart .plot")].every((plot) => {
        const svg = plot.querySelector("svg");
        return svg !== null && Math.abs(svg.getBoundingClientRect().width - plot.clientWidth) <= 1;
      }),
    );
    assert.equal(await overflow(page), 0);
  });
});

test("without scripts the numbers and the range are still there", async () => {
  const { page, close } = await openPage(browser, demo.address, { javaScriptEnabled: false });
  try {
    await page.goto(`${demo.address}/`);
    assert.ok((await page.locator(".tile .value").count()) >= 4);
    assert.ok((await page.locator("figure.table tbody tr").count()) > 10);
    const from = plus(await page.locator('input[name="to"]').inputValue(), -7);
    await page.locator('input[name="from"]').fill(from);
    await page.locator(".range button").click();
    await page.waitForURL((url) => url.searchParams.get("from") === from);
  } finally {
    await close();
  }
});
