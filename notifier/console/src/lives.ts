// The last events that were posted or asked for on this page, each followed by its receipt until it has succeeded or failed.

import { byId, clock, getJson, make, say, span } from "./dom.js"
import type { Result } from "./live.js"

const STEPS = ["RECEIVED", "QUEUED", "PROCESSING", "SUCCEEDED"]
const SHOWN = 10
/** Arrivals remembered, for events whose result is faster than the answer to the POST. */
const KEPT = 500
const LOOK_MS = 200
const LOOK_MS_MAX = 2_000

interface Life {
  receipt: string
  type: string
  /** When it was posted here, by the page's clock; 0 for a pasted receipt. */
  sentAt: number
  /** The last answer; null before the first. */
  told: any
  trouble: string
  row: HTMLLIElement
  head: HTMLElement
  body: HTMLElement
}

export class Lives {
  private readonly list = byId("lives")
  private readonly note = byId("lives-note")
  private readonly lives: Life[] = []
  /** When a result arrived here, by its cause. */
  private readonly arrived = new Map<string, number>()
  private wake: () => void = () => undefined

  constructor(private readonly open: (channel: string) => void) {
    void this.run()
  }

  /** Follows an event from now on; the newest stands first, and only it is shown in full. */
  follow(receipt: string, type: string, sentAt: number): void {
    const known = this.lives.findIndex((life) => life.receipt === receipt)
    if (known >= 0) this.lives.splice(known, 1)[0]?.row.remove()
    const head = make("summary")
    const body = make("div", { class: "life" })
    const details = make("details", { open: "" }, head, body)
    const life: Life = { receipt, type, sentAt, told: null, trouble: "", row: make("li", {}, details), head, body }
    for (const other of this.list.querySelectorAll("details")) other.open = false
    this.lives.unshift(life)
    this.list.prepend(life.row)
    for (const old of this.lives.splice(SHOWN)) old.row.remove()
    byId("lives-hint").hidden = true
    this.draw(life)
    this.wake()
  }

  /** A result: the event that caused it is looked at again at once. */
  take(result: Result): void {
    if (!result.cause || this.arrived.has(result.cause)) return
    this.arrived.set(result.cause, performance.now())
    if (this.arrived.size > KEPT) this.arrived.delete(this.arrived.keys().next().value as string)
    const life = this.lives.find((life) => life.told?.event_key === result.cause)
    if (!life) return
    this.draw(life)
    this.wake()
  }

  /** One request at a time, however many events are followed: a page has few connections, and the numbers need one too. */
  private async run(): Promise<void> {
    let pause = LOOK_MS
    for (;;) {
      const open = this.lives.filter((life) => !settled(life))
      let changed = false
      for (const life of open) changed = (await this.look(life)) || changed
      pause = changed ? LOOK_MS : Math.min(LOOK_MS_MAX, pause * 2)
      await new Promise<void>((done) => {
        this.wake = () => {
          pause = LOOK_MS
          done()
        }
        if (this.lives.some((life) => !settled(life))) setTimeout(done, pause)
      })
    }
  }

  /** Asks how far it is; true when it has moved. */
  private async look(life: Life): Promise<boolean> {
    const before = life.told?.state
    try {
      life.told = await getJson(`/v1/events/${encodeURIComponent(life.receipt)}`)
    } catch (error) {
      life.trouble = error instanceof Error ? error.message : String(error)
    }
    this.draw(life)
    if (settled(life)) say(this.note, life.trouble || `${life.told.channel} ${words(life.told.state)}${after(life.told)}`)
    return life.told?.state !== before
  }

  private draw(life: Life): void {
    const told = life.told
    const state = told?.state ?? (life.trouble ? "UNKNOWN" : "ASKING")
    life.row.className = state.startsWith("FAILED") || life.trouble ? "bad" : state === "SUCCEEDED" ? "good" : ""
    const begun = told?.history[0]?.at
    life.head.replaceChildren(
      make("time", { datetime: begun ?? "" }, begun ? clock(begun) : "–"),
      make("b", {}, told?.channel ?? "…"),
      make("span", { class: "type" }, life.type),
      make("span", { class: "chip" }, `${words(state)}${told ? after(told) : ""}`))
    life.body.replaceChildren(...(life.trouble ? [make("p", { class: "note bad" }, life.trouble)] : told ? this.full(life, told) : []))
  }

  private full(life: Life, told: any): Node[] {
    const channel = make("button", { type: "button", class: "channel" }, told.channel)
    channel.addEventListener("click", () => this.open(told.channel))
    const arrival = this.arrived.get(told.event_key)
    const seen = arrival === undefined ? "–" : life.sentAt && arrival >= life.sentAt ? `${span(arrival - life.sentAt)} after the click` : "seen"
    const outcome = `${told.outcome ?? "–"}${told.code ? ` (${told.code})` : ""}${told.reason ? `: ${told.reason}` : ""}`
    const products = told.products.map((product: any) =>
      make("dd", {}, make("b", {}, product.type ?? product.kind), ` ${product.stream}/${product.subject}${product.seq ? ` #${product.seq}` : ""}`))
    return [
      steps(told),
      make("dl", {},
        make("dt", {}, "Channel"), make("dd", {}, channel),
        make("dt", {}, "Outcome"), make("dd", {}, outcome),
        make("dt", {}, "Attempts"), make("dd", {}, told.attempts),
        make("dt", {}, "On this page"), make("dd", {}, seen),
        ...(products.length ? [make("dt", {}, "Told"), ...products] : [])),
    ]
  }
}

const settled = (life: Life): boolean => Boolean(life.trouble) || ["SUCCEEDED", "FAILED_TERMINAL"].includes(life.told?.state)

const words = (state: string): string => state.replace("_", " ").toLowerCase()

/** How long it has taken so far, by the server's own times. */
function after(told: any): string {
  const first = told.history[0]?.at, last = told.history[told.history.length - 1]?.at
  return told.history.length > 1 ? `, ${span(Math.max(0, new Date(last).getTime() - new Date(first).getTime()))}` : ""
}

function steps(told: any): HTMLElement {
  const times = new Map<string, string>(told.history.map((step: any) => [step.state, step.at]))
  const failed = told.state.startsWith("FAILED")
  const states = failed ? [...STEPS.slice(0, 3), told.state] : STEPS
  const begun = new Date(times.get("RECEIVED") ?? told.history[0]?.at ?? 0).getTime()
  const reached = states.indexOf(told.state)
  return make("ol", { class: "steps", "aria-label": "Lifecycle" }, ...states.map((state, i) => {
    const at = times.get(state)
    const done = at !== undefined || i <= reached
    const later = at ? `+${span(Math.max(0, new Date(at).getTime() - begun))}` : done ? "" : "…"
    return make("li", { class: `${done ? "done" : "open"}${failed && i === 3 ? " failed" : ""}` },
      make("b", {}, words(state)), make("time", { datetime: at ?? "", title: at ?? "" }, at ? clock(at) : "–"), make("span", {}, later))
  }))
}
