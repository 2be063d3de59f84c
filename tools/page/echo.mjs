// Checks that the page of tools/clients/javascript gets its array back in headless Chromium.
//
//   node echo.mjs URL
//
// Exit status: 0 passed, 1 failed, 2 no browser.

import { launch } from './browser.mjs';

const browser = await launch();
const tab = await browser.newPage();
await tab.goto(process.argv[2]);
const reply = tab.locator('#reply');
await reply.filter({ hasText: /./ }).waitFor({ timeout: 60_000 });
const said = await reply.textContent();
await browser.close();
if (!said.endsWith('\nbit for bit')) {
  console.error(`the page says: ${said}`);
  process.exitCode = 1;
}
