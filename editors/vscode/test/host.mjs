// Runs the tests inside the real extension host and prints what they found: node test/host.mjs
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { address, makePlace, openBrowser, startEditor } from "./editor.mjs";

const LIMIT_MS = 240_000;

const place = makePlace();
const editor = await startEditor(place);
const { browser, page } = await openBrowser();
try {
  await page.goto(address(place, editor.port, { tests: true }), { timeout: 180_000 });
  const end = Date.now() + LIMIT_MS;
  while (!existsSync(place.result) && Date.now() < end) await sleep(250);
  if (!existsSync(place.result)) throw new Error("The tests in the extension host did not end in time.");
  const results = JSON.parse(readFileSync(place.result, "utf8"));
  for (const { name, error, ms } of results) console.log(`${error ? "FAILED" : "passed"} ${name} (${ms} ms)${error ? `\n${error}` : ""}`);
  process.exitCode = results.every(({ error }) => !error) && results.length ? 0 : 1;
} finally {
  await browser.close();
  editor.stop();
  await place.remove();
}
