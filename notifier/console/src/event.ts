// Posts events, one or ten at random, and hands their receipts to the list that follows them.

import { byId, make, say, span } from "./dom.js"
import type { Lives } from "./lives.js"
import { PLACES } from "./places.js"

const TYPE = "flight.departed"
const TEN = 10

interface Flight {
  departed_at: string
  delay_minutes: number
  distance_miles: number
  origin: string
  destination: string
}

export class EventPanel {
  private readonly form = byId<HTMLFormElement>("post")
  private readonly receiptForm = byId<HTMLFormElement>("follow")
  private readonly note = byId("post-note")

  constructor(private readonly lives: Lives) {
    byId("airport-codes").append(...PLACES.map(([code, name]) => make("option", { value: code }, name)))
    this.form.addEventListener("submit", (event) => {
      event.preventDefault()
      void this.post([this.filled()])
    })
    byId("post-ten").addEventListener("click", () => void this.post(Array.from({ length: TEN }, random)))
    byId("post-shuffle").addEventListener("click", () => this.fill(random()))
    this.receiptForm.addEventListener("submit", (event) => {
      event.preventDefault()
      const receipt = new FormData(this.receiptForm).get("receipt")?.toString().trim()
      if (receipt) this.lives.follow(receipt, "pasted receipt", 0)
    })
  }

  private fill(flight: Flight): void {
    for (const name of ["origin", "destination", "delay_minutes", "distance_miles"] as const) {
      (this.form.elements.namedItem(name) as HTMLInputElement).value = String(flight[name])
    }
  }

  private filled(): Flight {
    const fields = new FormData(this.form)
    const text = (name: string): string => fields.get(name)?.toString().trim() ?? ""
    return {
      departed_at: new Date().toISOString(),
      delay_minutes: Number(text("delay_minutes")),
      distance_miles: Number(text("distance_miles")),
      origin: text("origin").toUpperCase(),
      destination: text("destination").toUpperCase(),
    }
  }

  /** One flight goes alone, so that the answer is its verdict; more go as a batch. */
  private async post(flights: Flight[]): Promise<void> {
    say(this.note, "sending …")
    this.note.className = "note"
    try {
      const sentAt = performance.now()
      const answer = await fetch("/v1/flights", {
        method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(flights.length === 1 ? flights[0] : flights),
      })
      const took = performance.now() - sentAt
      const body = await answer.json().catch(() => ({}))
      const verdicts: any[] = body.events ?? [body]
      const taken = verdicts.filter((verdict) => verdict.receipt)
      if (!taken.length) throw new Error(trouble(verdicts[0], body, answer.status))
      for (const verdict of taken) this.lives.follow(verdict.receipt, TYPE, sentAt)
      const [first] = taken
      say(this.note, flights.length === 1
        ? `${first.verdict} in ${span(took)}: partition ${first.partition}, offset ${first.offset}`
        : `${taken.length} of ${flights.length} accepted in ${span(took)}`)
      this.note.classList.add("good")
    } catch (error) {
      say(this.note, error instanceof Error ? error.message : String(error))
      this.note.classList.add("bad")
    }
  }
}

function random(): Flight {
  const any = (): string => PLACES[Math.floor(Math.random() * PLACES.length)]![0]
  const origin = any()
  let destination = any()
  while (destination === origin) destination = any()
  return {
    departed_at: new Date().toISOString(),
    delay_minutes: Math.round(Math.random() ** 3 * 120 - 8),
    distance_miles: 100 + Math.round(Math.random() * 2_400),
    origin,
    destination,
  }
}

function trouble(verdict: any, body: any, status: number): string {
  const errors = (verdict?.errors ?? []).map((error: any) => `${error.pointer}: ${error.message}`).join("; ")
  if (status === 404 && !body.detail) return "the write side is not on this port"
  return errors || body.detail || body.title || `HTTP ${status}`
}
