// Reads topics with KafkaJS until each has shown a record of one execution; prints them as JSON.
// Usage: kafkajs-topics.mjs BOOTSTRAP_SERVERS EXECUTION_ID TOPIC...
import { Kafka } from "kafkajs";
import { client, consume } from "./follow.mjs";

const [servers, executionId, ...topics] = process.argv.slice(2);
const kafka = new Kafka(client(servers));
const found = {};
await consume(
  kafka,
  `topics-${executionId}`,
  (message, topic) => {
    const text = message.value?.toString() ?? "";
    if (text.includes(executionId)) {
      found[topic] ??= JSON.parse(text);
    }
    return Object.keys(found).length === topics.length ? true : undefined;
  },
  topics,
);
console.log(JSON.stringify(found));
