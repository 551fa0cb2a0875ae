// Looks at a running console as its readers do: npm run check -- [http://127.0.0.1:8080/] [--picture FOLDER]
//
// In light and dark, on a desktop and on a narrow phone: no violation of axe-core's rules (WCAG 2.2 A and AA, and its best
// practices), no error on the browser's console, ten posted events followed to their end, all of it reachable by keyboard.
// Wants Chromium (CHROMIUM names another one than /usr/bin/chromium). Ends with 1 when something is wrong.
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { chromium } from "playwright-core"

const folderAt = process.argv.indexOf("--picture")
const folder = folderAt > 0 ? process.argv[folderAt + 1] : null
const url = process.argv.slice(2).find((argument) => argument.startsWith("http")) ?? "http://127.0.0.1:8080/"
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")
const PATIENCE_MS = 60_000
const LOOKS = [
  { name: "light", colorScheme: "light", viewport: { width: 1440, height: 1180 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1440, height: 1180 } },
  { name: "narrow", colorScheme: "light", viewport: { width: 360, height: 740 } },
]

const wrong = []
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"],
})
try {
  for (const look of LOOKS) await at(look)
} finally {
  await browser.close()
}
for (const line of wrong) console.log(`WRONG ${line}`)
console.log(`${LOOKS.length} looks at ${url}: ${wrong.length} wrong`)
process.exitCode = wrong.length ? 1 : 0

async function at({ name, ...look }) {
  const page = await browser.newPage({ ...look, reducedMotion: "reduce", bypassCSP: true })
  const say = (text) => wrong.push(`${name}: ${text}`)
  page.on("console", (message) => message.type() === "error" && say(`the browser says: ${message.text()}`))
  page.on("pageerror", (error) => say(`the page fails: ${error.message}`))
  await page.goto(url)
  await page.waitForFunction(() => document.querySelectorAll("#airports-body tr").length > 20, null, { timeout: PATIENCE_MS })
  await page.waitForFunction(() => document.querySelector("#kpi-in").textContent !== "–", null, { timeout: PATIENCE_MS })
  const rate = await page.textContent("#kpi-in")
  if (rate === "0") say("the first rate that is shown is 0 while events come in")

  await page.click("#post-ten")
  const ended = () => document.querySelectorAll("#lives > li.good").length === 10
  await page.waitForFunction(ended, null, { timeout: PATIENCE_MS }).catch(() => say("not all of ten posted events are shown as succeeded"))
  await page.click("#post button[type=submit]")
  await page.waitForFunction(() => document.querySelectorAll("#lives > li:first-child .steps li.done").length === 4, null, { timeout: PATIENCE_MS })
    .catch(() => say("the last posted event is not shown step by step"))
  if (await page.locator("#lives > li").count() !== 10) say("the list does not hold the last ten events")

  await violations(page, say, "the page")
  await keyboard(page, say)
  if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) say("it scrolls sideways")
  await page.locator("#airports-body button.code").first().focus()
  await page.keyboard.press("Enter")
  await page.waitForFunction(() => document.querySelector("#view-body").textContent.includes("rows"), null, { timeout: PATIENCE_MS })
  await violations(page, say, "the view dialog")
  await page.keyboard.press("Escape")
  if (folder) {
    await page.evaluate(() => {
      document.activeElement?.blur()
      scrollTo(0, 0)
    })
    if (look.viewport.width > 1_000) await page.setViewportSize({ width: 1_440, height: 1_480 })
    await page.waitForTimeout(1_500)
    await page.screenshot({ path: `${folder}/console${name === "light" ? "" : `-${name}`}.png` })
  }
  await page.close()
}

async function violations(page, say, what) {
  await page.evaluate(axe)
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }))
  if (passes.length < 20) say(`axe-core found only ${passes.length} rules to look at on ${what}`)
  for (const { id, help, nodes } of violations) say(`${what}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`)
}

/** Tab alone reaches every button, link, field and summary that is shown. */
async function keyboard(page, say) {
  await page.evaluate(() => {
    document.activeElement?.blur()
    document.querySelector("#search").value = "Atlanta"
    document.querySelector("#search").dispatchEvent(new Event("input"))
    scrollTo(0, 0)
  })
  await page.locator("#feed-pause").click()
  const wanted = await page.evaluate(() => {
    const shown = [...document.querySelectorAll("button, a[href], input, summary")].filter((element) => element.checkVisibility())
    shown.forEach((element, n) => { element.dataset.reach = n })
    return shown.map((element) => `${element.tagName.toLowerCase()} ${(element.textContent || element.name || element.id).trim().slice(0, 40)}`)
  })
  const reached = new Set()
  await page.locator("body").focus().catch(() => undefined)
  for (let n = 0; n < wanted.length * 2 + 20; n++) {
    await page.keyboard.press("Tab")
    const at = await page.evaluate(() => document.activeElement?.dataset.reach)
    if (at !== undefined) reached.add(Number(at))
  }
  wanted.forEach((what, n) => reached.has(n) || say(`Tab does not reach: ${what}`))
  await page.locator("#feed-pause").click()
  await page.evaluate(() => {
    document.querySelector("#search").value = ""
    document.querySelector("#search").dispatchEvent(new Event("input"))
  })
}
