// Writes dist/sources: a checksum of src/, so that a test can tell a stale dist/ without Node.
import { readdirSync, readFileSync, writeFileSync } from "node:fs"

let hash = 0xcbf29ce484222325n
for (const name of readdirSync("src").sort()) {
  for (const byte of readFileSync(`src/${name}`)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn
}
writeFileSync("dist/sources", `${hash.toString(16)}\n`)
