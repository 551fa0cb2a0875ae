// Small helpers: elements, numbers, times. Values only ever become text or attributes, never markup.

export type Child = Node | string | number | null | undefined

/** The element with this id; the page and this code are one thing, so it is there. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`the page has no #${id}`)
  return found as unknown as T
}

/** A new element with attributes and children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Record<string, string> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  add(made, children)
  return made
}

/** A new SVG element. */
export function svg(tag: string, attributes: Record<string, string | number> = {}, ...children: Child[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value))
  add(made, children)
  return made
}

function add(parent: Element, children: Child[]): void {
  for (const child of children) if (child !== null && child !== undefined) parent.append(child instanceof Node ? child : String(child))
}

/** Sets the text if it changed. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 })
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: "negative" })

/** 12,345; "–" for what is not known. */
export const count = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : whole.format(value))
/** 12.3K */
export const compact = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : value < 10_000 ? whole.format(value) : short.format(value)
/** 12.3 */
export const decimal = (value: number | null | undefined): string => (value === null || value === undefined ? "–" : tenth.format(value))
/** 840 ms, 1.2 s */
export const span = (ms: number | null | undefined): string =>
  ms === null || ms === undefined ? "–" : ms < 999.5 ? `${whole.format(ms)} ms` : ms < 90_000 ? `${tenth.format(ms / 1000)} s` : `${whole.format(ms / 60_000)} min`
/** 14:03:07.250 */
export const clock = (time: string | null | undefined): string => {
  const at = time ? new Date(time) : null
  return at && !Number.isNaN(at.getTime()) ? `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, "0")}` : "–"
}

/** A line through the values, as points of a polyline. */
export function line(values: readonly number[], width: number, height: number): string {
  if (values.length < 2) return ""
  const low = Math.min(0, ...values), high = Math.max(1, ...values)
  const step = width / (values.length - 1)
  return values.map((value, i) => `${(i * step).toFixed(1)},${(height - ((value - low) / (high - low)) * height).toFixed(1)}`).join(" ")
}

/** The answer of a GET as JSON; throws what the problem says. */
export async function getJson(path: string): Promise<any> {
  const answer = await fetch(path, { headers: { accept: "application/json" } })
  const body = await answer.json().catch(() => ({}))
  if (!answer.ok) throw new Error(body.detail ?? body.title ?? `HTTP ${answer.status}`)
  return body
}
