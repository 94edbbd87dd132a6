// odiff over all pairs of two folders: one long-lived server a core, as its makers
// advise for many pictures. Prints how many pairs differ.
import { ODiffServer } from "odiff-bin";
import { readdirSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";

const [golden, fresh] = process.argv.slice(2);
const names = readdirSync(golden);
let differing = 0;
const workers = Array.from({ length: availableParallelism() }, async (_, worker) => {
  const server = new ODiffServer();
  for (let name = names.pop(); name; name = names.pop()) {
    const difference = `${tmpdir()}/odiff-${process.pid}-${worker}.png`;
    const options = { threshold: 0 };
    const found = await server.compare(`${golden}/${name}`, `${fresh}/${name}`, difference, options);
    if (!found.match) differing += 1;
  }
});
await Promise.all(workers);
console.log(differing);
// Its server.stop() would wait for five seconds.
process.exit();
