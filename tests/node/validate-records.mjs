// Compiles every JSON Schema of a folder with ajv in strict mode, then validates records.
// Usage: validate-records.mjs SCHEMA_FOLDER < {"schema name": [record, ...], ...}
// Prints one line per fault; exits with 1 if there is any.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const SUFFIX = ".schema.json";
const [folder] = process.argv.slice(2);
const records = JSON.parse(readFileSync(0, "utf8"));
const faults = [];
let validated = 0;

for (const file of readdirSync(folder).filter((name) => name.endsWith(SUFFIX))) {
  const name = file.slice(0, -SUFFIX.length);
  const ajv = new Ajv2020({ strict: true, allErrors: true });
  addFormats(ajv);
  let validate;
  try {
    validate = ajv.compile(JSON.parse(readFileSync(join(folder, file), "utf8")));
  } catch (error) {
    faults.push(`${file}: ${error.message}`);
    continue;
  }
  for (const record of records[name] ?? []) {
    validated += 1;
    if (!validate(record)) {
      faults.push(`${file}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(record).slice(0, 300)}`);
    }
  }
}
for (const fault of faults) {
  console.error(fault);
}
console.log(`${validated} records`);
process.exit(faults.length > 0 ? 1 : 0);
