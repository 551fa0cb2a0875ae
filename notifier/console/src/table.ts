// The table of airports: live, sortable, searchable. Rows are made once and only their changed cells are touched.

import { type Airport, type Airports, mean, recentMean, share } from "./airports.js"
import { byId, count, decimal, line, make, say, svg } from "./dom.js"
import { colour } from "./map.js"

type Key = "code" | "flights" | "mean" | "share" | "recent"

const value: Record<Key, (airport: Airport) => number | string> = {
  code: (airport) => airport.code,
  flights: (airport) => airport.flights,
  mean,
  share,
  recent: recentMean,
}

interface Row {
  row: HTMLTableRowElement
  flights: HTMLElement
  mean: HTMLElement
  share: HTMLElement
  bar: HTMLElement
  spark: SVGElement
  recent: HTMLElement
}

export class Table {
  private readonly rows = new Map<string, Row>()
  private readonly body = byId("airports-body")
  private readonly search = byId<HTMLInputElement>("search")
  private readonly shown = byId("airports-shown")
  private key: Key = "flights"
  private rising = false

  constructor(private readonly airports: Airports, private readonly open: (channel: string) => void) {
    this.search.addEventListener("input", () => this.order())
    for (const button of document.querySelectorAll<HTMLButtonElement>("#airports button[data-sort]")) {
      button.addEventListener("click", () => this.sort(button.dataset["sort"] as Key))
    }
  }

  /** Shows only what matches. */
  find(text: string): void {
    this.search.value = text
    this.order()
  }

  draw(): void {
    let fresh = false
    for (const airport of this.airports.changed) {
      if (!airport.flights) continue
      if (!this.rows.has(airport.code)) fresh = true
      this.fill(this.row(airport), airport)
    }
    for (const airport of this.airports.hit) {
      const row = this.rows.get(airport.code)?.row
      if (!row) continue
      row.classList.remove("hit")
      // reading a size restarts the animation
      void row.offsetWidth
      row.classList.add("hit")
    }
    if (fresh) this.order()
  }

  /** Puts the rows into their order; called on demand and now and then, so that rows do not jump under the reader. */
  order(): void {
    const text = this.search.value.trim().toLowerCase()
    const get = value[this.key]
    const turn = this.rising ? 1 : -1
    const wanted = [...this.airports.all.values()]
      .filter((airport) => airport.flights && (!text || `${airport.code} ${airport.name} ${airport.city}`.toLowerCase().includes(text)))
      .sort((a, b) => {
        const [left, right] = [get(a), get(b)]
        return turn * (typeof left === "string" ? left.localeCompare(String(right)) : left - Number(right)) || a.code.localeCompare(b.code)
      })
    const rows = wanted.map((airport) => this.row(airport).row)
    // moving nothing keeps focus and scroll where they are
    if (rows.length !== this.body.childElementCount || rows.some((row, i) => this.body.children[i] !== row)) this.body.replaceChildren(...rows)
    say(this.shown, `${count(rows.length)} airports`)
  }

  private sort(key: Key): void {
    this.rising = this.key === key ? !this.rising : key === "code"
    this.key = key
    for (const head of document.querySelectorAll("#airports th")) {
      const button = head.querySelector<HTMLButtonElement>("button[data-sort]")
      if (button?.dataset["sort"] === key) head.setAttribute("aria-sort", this.rising ? "ascending" : "descending")
      else head.removeAttribute("aria-sort")
    }
    this.order()
  }

  private row(airport: Airport): Row {
    const held = this.rows.get(airport.code)
    if (held) return held
    const button = make("button", { class: "code", type: "button", title: `Show the view of flights/${airport.code}` }, airport.code)
    button.addEventListener("click", () => this.open(`flights/${airport.code}`))
    const spark = svg("polyline", { class: "spark" })
    const bar = make("i", {})
    const made: Row = {
      flights: make("td", { class: "number" }),
      mean: make("td", { class: "number" }),
      share: make("span", { class: "number" }),
      bar,
      spark,
      recent: make("span", { class: "chip" }),
      row: make("tr"),
    }
    made.row.append(
      make("th", { scope: "row" }, button, make("span", { class: "city", title: airport.name }, airport.city)),
      made.flights,
      made.mean,
      make("td", { class: "share" }, make("span", { class: "bar", "aria-hidden": "true" }, bar), made.share),
      make("td", { class: "last" }, svg("svg", { viewBox: "0 0 96 24", class: "sparkline", "aria-hidden": "true", preserveAspectRatio: "none" }, spark), made.recent),
    )
    this.rows.set(airport.code, made)
    this.fill(made, airport)
    return made
  }

  private fill(row: Row, airport: Airport): void {
    say(row.flights, count(airport.flights))
    say(row.mean, decimal(mean(airport)))
    say(row.share, `${(share(airport) * 100).toFixed(0)} %`)
    row.bar.style.width = `${Math.min(100, share(airport) * 100).toFixed(0)}%`
    row.spark.setAttribute("points", line(airport.recent, 96, 24))
    row.recent.className = `chip ${colour(recentMean(airport))}`
    say(row.recent, `${decimal(recentMean(airport))}${airport.alarm ? " delayed" : ""}`)
  }
}
