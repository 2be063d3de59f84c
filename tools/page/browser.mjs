// Headless Chromium of this machine. CHROMIUM names another browser. Exit status 2: there is none.

import { accessSync, constants } from 'node:fs';
import { chromium } from 'playwright-core';

const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

function browserPath() {
  const known = process.env.CHROMIUM ? [process.env.CHROMIUM] : BROWSERS;
  const found = known.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) {
    console.error(`no Chromium at ${known.join(', ')}; install the package chromium, or name a ` +
      'browser in the variable CHROMIUM');
    process.exit(2);
  }
  return found;
}

export function launch() {
  return chromium.launch({ executablePath: browserPath(), args: ['--no-sandbox'] });
}
