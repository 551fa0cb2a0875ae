// Post an event and follow it: receipt, lifecycle step by step, its results, and its arrival on this very page.

import { byId, clock, getJson, make, say, span } from "./dom.js"
import type { Result } from "./live.js"
import { PLACES } from "./places.js"

const STEPS = ["RECEIVED", "QUEUED", "PROCESSING", "SUCCEEDED"]
const KEPT = 500

export class EventPanel {
  private readonly form = byId<HTMLFormElement>("post")
  private readonly receiptForm = byId<HTMLFormElement>("follow")
  private readonly out = byId("lifecycle")
  private readonly note = byId("post-note")
  /** Arrival times by cause, for events whose result is faster than the answer to the POST. */
  private readonly arrived = new Map<string, number>()
  private sentAt = 0
  private following = 0
  private shown: any = null

  constructor(private readonly open: (channel: string) => void) {
    const options = PLACES.map(([code, name]) => make("option", { value: code }, name))
    byId("airport-codes").append(...options)
    this.form.addEventListener("submit", (event) => {
      event.preventDefault()
      void this.post()
    })
    this.receiptForm.addEventListener("submit", (event) => {
      event.preventDefault()
      const receipt = new FormData(this.receiptForm).get("receipt")?.toString().trim()
      if (receipt) {
        this.sentAt = 0
        void this.follow(receipt)
      }
    })
    byId("post-shuffle").addEventListener("click", () => this.shuffle())
  }

  take(result: Result): void {
    if (!result.cause || this.arrived.has(result.cause)) return
    this.arrived.set(result.cause, performance.now())
    if (this.arrived.size > KEPT) this.arrived.delete(this.arrived.keys().next().value as string)
    if (this.shown?.event_key === result.cause) this.draw(this.shown)
  }

  private shuffle(): void {
    const any = (): string => PLACES[Math.floor(Math.random() * PLACES.length)]![0]
    const origin = any()
    let destination = any()
    while (destination === origin) destination = any()
    const set = (name: string, value: string): void => {
      (this.form.elements.namedItem(name) as HTMLInputElement).value = value
    }
    set("origin", origin)
    set("destination", destination)
    set("delay_minutes", String(Math.round(Math.random() ** 3 * 120 - 8)))
    set("distance_miles", String(100 + Math.round(Math.random() * 2_400)))
  }

  private async post(): Promise<void> {
    const fields = new FormData(this.form)
    const text = (name: string): string => fields.get(name)?.toString().trim() ?? ""
    const event = {
      departed_at: new Date().toISOString(),
      delay_minutes: Number(text("delay_minutes")),
      distance_miles: Number(text("distance_miles")),
      origin: text("origin").toUpperCase(),
      destination: text("destination").toUpperCase(),
    }
    say(this.note, "sending …")
    this.note.className = "note"
    try {
      this.sentAt = performance.now()
      const answer = await fetch("/v1/flights", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(event),
      })
      const took = performance.now() - this.sentAt
      const verdict = await answer.json().catch(() => ({}))
      if (!verdict.receipt) throw new Error(trouble(verdict, answer.status))
      say(this.note, `${verdict.verdict} in ${span(took)}: partition ${verdict.partition}, offset ${verdict.offset}`)
      this.note.classList.add("good")
      const field = this.receiptForm.elements.namedItem("receipt") as HTMLInputElement
      field.value = verdict.receipt
      await this.follow(verdict.receipt)
    } catch (error) {
      say(this.note, error instanceof Error ? error.message : String(error))
      this.note.classList.add("bad")
    }
  }

  private async follow(receipt: string): Promise<void> {
    const turn = ++this.following
    this.out.replaceChildren(make("p", { class: "hint" }, "asking …"))
    let from = ""
    for (;;) {
      try {
        const path = `/v1/events/${encodeURIComponent(receipt)}${from ? `?wait=10s&from=${from}` : ""}`
        const life = await getJson(path)
        if (turn !== this.following) return
        this.draw(life)
        if (life.state === "SUCCEEDED" || life.state === "FAILED_TERMINAL") return
        from = life.state
      } catch (error) {
        if (turn !== this.following) return
        this.out.replaceChildren(make("p", { class: "note bad" }, error instanceof Error ? error.message : String(error)))
        return
      }
    }
  }

  private draw(life: any): void {
    this.shown = life
    const times = new Map<string, string>(life.history.map((step: any) => [step.state, step.at]))
    const failed = life.state.startsWith("FAILED")
    const steps = failed ? [...STEPS.slice(0, 3), life.state] : STEPS
    const begun = new Date(times.get("RECEIVED") ?? life.history[0]?.at ?? 0).getTime()
    const reached = steps.indexOf(life.state)
    const line = steps.map((state, i) => {
      const at = times.get(state)
      const done = at !== undefined || i <= reached
      const words = at ? `+${span(Math.max(0, new Date(at).getTime() - begun))}` : done ? "" : "…"
      return make("li", { class: `${done ? "done" : "open"}${failed && i === 3 ? " failed" : ""}` },
        make("b", {}, state.replace("_", " ").toLowerCase()), make("time", { datetime: at ?? "", title: at ?? "" }, at ? clock(at) : "–"), make("span", {}, words))
    })
    const products = life.products.map((product: any) => make("li", {}, make("b", {}, product.type ?? product.kind), ` ${product.stream}/${product.subject}${product.seq ? ` #${product.seq}` : ""}`))
    const arrival = this.arrived.get(life.event_key)
    const channel = make("button", { type: "button", class: "channel" }, life.channel)
    channel.addEventListener("click", () => this.open(life.channel))
    this.out.replaceChildren(
      make("ol", { class: "steps", "aria-label": "Lifecycle" }, ...line),
      make("dl", {},
        make("dt", {}, "Channel"), make("dd", {}, channel),
        make("dt", {}, "Outcome"), make("dd", {}, `${life.outcome ?? "–"}${life.code ? ` (${life.code})` : ""}${life.reason ? `: ${life.reason}` : ""}`),
        make("dt", {}, "Attempts"), make("dd", {}, life.attempts ?? "–"),
        make("dt", {}, "On this page"), make("dd", {}, arrival && this.sentAt && arrival >= this.sentAt ? `${span(arrival - this.sentAt)} after the click` : arrival ? "seen" : "–")),
      ...(products.length ? [make("h3", {}, "Told"), make("ul", { class: "products" }, ...products)] : []))
  }
}

function trouble(body: any, status: number): string {
  const errors = (body.errors ?? []).map((error: any) => `${error.pointer}: ${error.message}`).join("; ")
  if (status === 404 && !body.detail) return "the write side is not on this port"
  return errors || body.detail || body.title || `HTTP ${status}`
}
