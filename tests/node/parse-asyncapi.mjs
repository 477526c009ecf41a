// Parses the AsyncAPI document with the parser that AsyncAPI itself publishes.
// Prints one line per error; exits with 1 if there is any.
import { fromFile, Parser } from "@asyncapi/parser";

const [path] = process.argv.slice(2);
const { document, diagnostics } = await fromFile(new Parser(), path).parse();
const ERROR = 0;
const errors = diagnostics.filter((found) => found.severity === ERROR);
for (const error of errors) {
  console.error(`${error.path.join("/")}: ${error.message}`);
}
if (document === undefined || errors.length > 0) {
  process.exit(1);
}
console.log(`${document.channels().all().length} channels, ${document.allMessages().all().length} messages`);
