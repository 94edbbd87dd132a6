// pixelmatch over all pairs of two folders, one worker thread a core. Prints how many
// pairs differ.
import pixelmatch from "pixelmatch";
import { PNG } from "pngjs";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

if (isMainThread) {
  const [golden, fresh] = process.argv.slice(2);
  const count = availableParallelism();
  const names = readdirSync(golden);
  const shares = Array.from({ length: count }, (_, i) => names.filter((_, j) => j % count === i));
  const differing = shares.map(
    (names) =>
      new Promise((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), { workerData: { golden, fresh, names } });
        worker.on("message", resolve);
        worker.on("error", reject);
      }),
  );
  console.log((await Promise.all(differing)).reduce((sum, value) => sum + value, 0));
} else {
  const { golden, fresh, names } = workerData;
  const read = (file) => PNG.sync.read(readFileSync(file));
  const differs = (name) => {
    const [one, other] = [read(`${golden}/${name}`), read(`${fresh}/${name}`)];
    const options = { threshold: 0, includeAA: true };
    return pixelmatch(one.data, other.data, null, one.width, one.height, options) > 0;
  };
  parentPort.postMessage(names.filter(differs).length);
}
