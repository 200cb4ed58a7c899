// What a user does at the editor's screen: opens, types, chooses, reads. Everything waits for what it needs.

export const LONG = { timeout: 240_000 };
export const SOON = { timeout: 90_000 };

export function screenOf(page) {
  const input = page.locator(".quick-input-widget:visible input").first();
  const rows = (text) => page.locator(".quick-input-list .monaco-list-row", { hasText: text });
  const status = (icon) => page.locator(`[id*='codekin.status'] .codicon-${icon}`).first();
  const toast = (text) => page.locator(".notification-list-item", { hasText: text }).first();

  async function choose(keys, typed, row) {
    await page.keyboard.press(keys);
    await input.waitFor(SOON);
    await input.fill(typed);
    await rows(row).first().waitFor(SOON);
    await page.keyboard.press("Enter");
  }

  return {
    page, input, rows, status, toast,
    ready: () => status("references").waitFor(LONG),
    command: (title) => choose("F1", `>${title}`, title),
    async openFile(name) {
      await choose("Control+P", name, name);
      await page.locator(".tab.active", { hasText: name }).waitFor(SOON);
      await page.locator(".editor-instance .view-lines").first().click();
    },
    async goTo(line) {
      await choose("Control+G", `:${line}`, "");
      await page.locator(".editor-instance .line-numbers.active-line-number", { hasText: String(line) }).first().waitFor(SOON);
    },
    press: (label) => page.locator(".notification-list-item .monaco-button", { hasText: label }).first().click(SOON),
  };
}
