// What a user does at the editor's screen: opens, types, chooses, reads. Everything waits for what it needs.

export const LONG = { timeout: 240_000 };
export const SOON = { timeout: 90_000 };

export function screenOf(page) {
  const input = page.locator(".quick-input-widget:visible input").first();
  const rows = (text) => page.locator(".quick-input-list .monaco-list-row", { hasText: text });
  const status = (icon) => page.locator(`[id*='codekin.status'] .codicon-${icon}`).first();
  const notifications = ".notifications-center .notification-list-item";

  async function choose(keys, typed, row) {
    await page.keyboard.press(keys);
    await input.waitFor(SOON);
    await input.fill(typed);
    // The list is sorted anew while it fills: what Enter takes must be what is meant.
    await page.locator(".quick-input-list .monaco-list-row.focused", { hasText: row }).waitFor(SOON);
    await page.keyboard.press("Enter");
  }

  return {
    page, input, rows, status,
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
    async closePeek() {
      await page.keyboard.press("Escape");
      await page.locator(".peekview-widget").waitFor({ state: "detached", ...SOON });
    },
    /** Pastes a text where the cursor is. */
    async paste(text) {
      await page.evaluate((copied) => navigator.clipboard.writeText(copied), text);
      await page.keyboard.press("Control+V");
    },
    /** Takes back what was typed, and waits until a text of it is gone. */
    async revert(text) {
      await choose("F1", ">File: Revert File", "File: Revert File");
      await page.locator(".view-line", { hasText: text }).first().waitFor({ state: "detached", ...SOON });
    },
    /** A message that was shown; the centre keeps it when its toast has gone. */
    async notified(text) {
      await choose("F1", ">Notifications: Show Notifications", "Notifications: Show Notifications");
      await page.locator(notifications, { hasText: text }).first().waitFor(SOON);
    },
    press: (label) => page.locator(`${notifications} .monaco-button`, { hasText: label }).first().click(SOON),
  };
}
