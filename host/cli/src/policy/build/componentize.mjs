// Makes a component of an ES module: node componentize.mjs SOURCE WIT OUT. Called by `weir policy build`.
import { componentize } from '@bytecodealliance/componentize-js';
import { writeFile } from 'node:fs/promises';

const [sourcePath, witPath, out] = process.argv.slice(2);
try {
  const { component } = await componentize({
    sourcePath,
    witPath,
    worldName: 'scaling-policy',
    // a policy imports nothing
    disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
  });
  await writeFile(out, component);
} catch (error) {
  console.error(String(error?.message ?? error));
  process.exit(1);
}
