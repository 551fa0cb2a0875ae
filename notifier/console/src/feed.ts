// The last results as they arrive; pausable, bounded.

import { DELAYED } from "./airports.js"
import { byId, clock, make, say } from "./dom.js"
import type { Result } from "./live.js"

const SHOWN = 40

export class Feed {
  private readonly list = byId("feed-list")
  private readonly button = byId<HTMLButtonElement>("feed-pause")
  private waiting: Result[] = []
  private paused = false

  constructor(private readonly open: (channel: string) => void) {
    this.button.addEventListener("click", () => {
      this.paused = !this.paused
      this.button.setAttribute("aria-pressed", String(this.paused))
      say(this.button, this.paused ? "Resume" : "Pause")
    })
  }

  take(result: Result): void {
    this.waiting.push(result)
    if (this.waiting.length > SHOWN) this.waiting.shift()
  }

  draw(): void {
    if (this.paused || !this.waiting.length) return
    const fresh = this.waiting.reverse().map((result) => this.item(result))
    this.waiting = []
    this.list.prepend(...fresh)
    while (this.list.childElementCount > SHOWN) this.list.lastElementChild?.remove()
  }

  private item(result: Result): HTMLLIElement {
    const channel = make("button", { type: "button", class: "channel" }, result.ch)
    channel.addEventListener("click", () => this.open(result.ch))
    const [kind, words] = describe(result)
    return make("li", { class: kind },
      make("time", { datetime: result.time ?? "" }, clock(result.time).slice(0, 8)),
      channel,
      make("span", { class: "words" }, words),
      make("span", { class: "seq", title: "seq of the channel" }, result.seq === undefined ? "" : `#${result.seq}`))
  }
}

function describe(result: Result): [string, string] {
  if (result.bad) return ["late", `${result.type ?? "result"}: ${result.bad}`]
  const data = result.data ?? {}
  switch (result.type) {
    case "flight.recorded": {
      const delay = Number(data.delay_minutes)
      const words = delay > 0 ? `${delay} min late` : delay < 0 ? `${-delay} min early` : "on time"
      return [delay >= DELAYED ? "late" : "fine", `→ ${data.destination}  ${words}`]
    }
    case "airport.delayed":
      return ["alarm", `delayed: last 20 on average ${Number(data.mean_delay_minutes).toFixed(1)} min`]
    case "airport.recovered":
      return ["calm", `recovered: last 20 on average ${Number(data.mean_delay_minutes).toFixed(1)} min`]
    default:
      return ["fine", result.type ?? "result"]
  }
}
