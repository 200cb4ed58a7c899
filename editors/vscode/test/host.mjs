// Runs the tests inside the real extension host and prints what they found: node test/host.mjs
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { address, makePlace, openBrowser, startEditor } from "./editor.mjs";

const LIMIT_MS = 840_000;

const place = makePlace();
const editor = await startEditor(place);
const { browser, page } = await openBrowser();
try {
  await page.goto(address(place, editor.port, { tests: true }), { timeout: 180_000 });
  const end = Date.now() + LIMIT_MS;
  while (!existsSync(place.result) && Date.now() < end) await sleep(250);
  const hasEnded = existsSync(place.result);
  const results = JSON.parse(readFileSync(hasEnded ? place.result : `${place.result}.part`, "utf8"));
  for (const { name, error, ms } of results) console.log(`${error ? "FAILED" : "passed"} ${name} (${ms} ms)${error ? `\n${error}` : ""}`);
  if (!hasEnded) console.log(`FAILED: the test after these did not end in ${LIMIT_MS / 1000} s`);
  process.exitCode = hasEnded && results.every(({ error }) => !error) && results.length ? 0 : 1;
} finally {
  await browser.close();
  editor.stop();
  await place.remove();
}
