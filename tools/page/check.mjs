// Checks a page of `ndecho report DIR --html` in headless Chromium, and takes screenshots.
//
//   node check.mjs PAGE.html FOLDER    screenshots go to FOLDER; CHROMIUM names another browser
//
// Each of two widths is loaded light and dark. The page must make no request, write nothing to the
// console, need no horizontal scrolling, and have no violation that axe-core knows. It must keep
// its text and its choices without its script, print, sort its table, and offer its figures.
// Exit status: 0 passed, 1 failed, 2 wrong usage or no browser.

import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launch } from './browser.mjs';

const WIDTHS = [360, 1280];
const HEIGHT = 900;

const failures = [];
const fail = (where, what) => failures.push(`${where}: ${what}`);

async function open(browser, page, options, where) {
  const context = await browser.newContext(options);
  const tab = await context.newPage();
  const url = pathToFileURL(resolve(page)).href;
  tab.on('request', (request) => {
    if (request.url() !== url) fail(where, `request to ${request.url().slice(0, 200)}`);
  });
  tab.on('console', (message) => fail(where, `console: ${message.text()}`));
  tab.on('pageerror', (error) => fail(where, `error: ${error.message}`));
  await tab.goto(url, { waitUntil: 'load' });
  return tab;
}

async function checkScrolling(tab, where) {
  const wide = await tab.evaluate(() => {
    const room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= room) return null;
    const isInScroller = (element) => element.closest('.scroll, pre') !== null;
    const all = [...document.querySelectorAll('body *')].filter((element) => !isInScroller(element));
    const out = all.filter((element) => element.getBoundingClientRect().right > room + 0.5);
    return `${document.documentElement.scrollWidth} > ${room} px: ` +
      out.slice(0, 5).map((element) => element.outerHTML.slice(0, 120)).join(' | ');
  });
  if (wide) fail(where, `scrolls horizontally, ${wide}`);
}

// Text of a picture must not lie over other text of the picture.
async function checkOverlaps(tab, where) {
  const overlaps = await tab.evaluate(() => {
    const found = [];
    for (const svg of document.querySelectorAll('svg[role=img]')) {
      const texts = [...svg.querySelectorAll('text')].filter((text) => text.textContent.trim());
      // An area of an icicle cuts its text off where it ends.
      const boxes = texts.map((text) => {
        const whole = text.getBoundingClientRect();
        if (text.ownerSVGElement === svg) return whole;
        const { right } = text.ownerSVGElement.querySelector('rect').getBoundingClientRect();
        return { ...whole.toJSON(), right: Math.min(whole.right, right) };
      });
      for (let one = 0; one < boxes.length; one += 1) {
        for (let other = one + 1; other < boxes.length; other += 1) {
          const [a, b] = [boxes[one], boxes[other]];
          const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
          const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
          if (width > 1 && height > 4) {
            found.push(`${texts[one].textContent} / ${texts[other].textContent}`);
          }
        }
      }
    }
    return found;
  });
  overlaps.slice(0, 10).forEach((overlap) => fail(where, `text over text: ${overlap}`));
}

async function checkAccess(tab, axe, where) {
  await tab.evaluate(axe);
  const { violations } = await tab.evaluate(() => window.axe.run(document));
  for (const { id, help, nodes } of violations) {
    const places = nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ');
    fail(where, `axe ${id}: ${help} (${nodes.length}): ${places}`);
  }
}

// A choice hides the pictures of other choices, without a script.
async function checkChoice(tab, where) {
  const buttons = tab.locator('.choose fieldset').first().locator('input');
  const count = await buttons.count();
  for (let index = count - 1; index >= 0; index -= 1) {
    await buttons.nth(index).check();
    const chosen = await buttons.nth(index).getAttribute('class');
    const wrong = await tab.$$eval('.choose .grid > div', (all, name) => all
      .filter((one) => (one.offsetHeight > 0) !== (name === null || one.classList.contains(name)))
      .length, chosen);
    if (wrong > 0) fail(where, `${wrong} pictures are wrongly shown or hidden for ${chosen}`);
  }
}

async function checkTable(tab, where) {
  const column = () => tab.$$eval('#cells tbody tr', (rows) => rows
    .map((row) => row.cells[2])
    .filter((cell) => cell.colSpan === 1)
    .map((cell) => Number(cell.dataset.v)));
  const before = await column();
  const button = tab.locator('#cells thead th').nth(2).locator('button');
  await button.click();
  const sorted = [...before].sort((one, other) => one - other);
  if (String(await column()) !== String(sorted)) fail(where, 'a click does not sort the table');
  await button.click();
  if (String(await column()) !== String(sorted.reverse())) fail(where, 'a second click does not turn it');
  const rows = await tab.locator('#cells tbody tr').count();
  await tab.locator('.filter input').fill('no such rung');
  const hidden = await tab.locator('#cells tbody tr[hidden]').count();
  if (hidden !== rows) fail(where, `${rows - hidden} rows match a word that none has`);
  await tab.locator('.filter input').fill('');
  await button.click();
}

async function checkDownloads(tab, where) {
  const details = tab.locator('details.data').first();
  await details.locator('summary').click();
  const shown = await details.locator('pre').textContent();
  const download = tab.waitForEvent('download');
  await details.locator('a', { hasText: 'CSV' }).click();
  const file = await (await download).path();
  if (readFileSync(file, 'utf8') !== shown) fail(where, 'the file is not the CSV that is shown');
  await details.locator('summary').click();
}

async function checkAnchors(tab, where) {
  const broken = await tab.evaluate(() => {
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    const twice = ids.filter((id, index) => ids.indexOf(id) !== index);
    const links = [...document.querySelectorAll('a[href^="#"]')].filter((link) => link.hash);
    const dead = links.filter((link) => !document.getElementById(link.hash.slice(1)));
    return [...twice.map((id) => `id ${id} twice`), ...dead.map((link) => `no ${link.hash}`)];
  });
  broken.forEach((what) => fail(where, what));
}

async function main() {
  const [page, folder] = process.argv.slice(2);
  if (!page || !folder) {
    console.error('usage: node check.mjs PAGE.html FOLDER');
    process.exit(2);
  }
  mkdirSync(folder, { recursive: true });
  const require = createRequire(import.meta.url);
  const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  const browser = await launch();
  for (const width of WIDTHS) {
    for (const colorScheme of ['light', 'dark']) {
      const where = `${width} px, ${colorScheme}`;
      const options = { viewport: { width, height: HEIGHT }, colorScheme, bypassCSP: false };
      const tab = await open(browser, page, options, where);
      await checkScrolling(tab, where);
      await checkOverlaps(tab, where);
      await checkAnchors(tab, where);
      await checkChoice(tab, where);
      await checkTable(tab, where);
      await checkDownloads(tab, where);
      await checkAccess(tab, axe, where);
      const path = join(folder, `${width}-${colorScheme}.png`);
      await tab.screenshot({ path, fullPage: true });
      await tab.context().close();
    }
  }
  const where = 'without script';
  const plain = await open(browser, page, { javaScriptEnabled: false, viewport: { width: 360, height: HEIGHT } }, where);
  const text = await plain.locator('main').innerText();
  if (text.length < 2000) fail(where, `only ${text.length} letters can be read`);
  await checkChoice(plain, where);
  await plain.emulateMedia({ media: 'print', colorScheme: 'dark' });
  await plain.pdf({ path: join(folder, 'print.pdf') });
  await browser.close();
  failures.forEach((failure) => console.error(failure));
  console.log(failures.length ? `${failures.length} failures` : `the page passed; screenshots in ${folder}`);
  process.exit(failures.length ? 1 : 0);
}

await main();
