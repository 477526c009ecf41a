// A producer and reader of Runstream with the CloudEvents SDK over KafkaJS: the request is a
// CloudEvent in binary mode, and so is every event that is read.
// Usage: cloudevents-client.mjs BOOTSTRAP_SERVERS IDEMPOTENCY_KEY REQUEST
import { CloudEvent, Kafka as Binding } from "cloudevents";
import { Kafka } from "kafkajs";
import { client, consume, Follower, texts } from "./follow.mjs";

const [servers, idempotencyKey, request] = process.argv.slice(2);
const kafka = new Kafka(client(servers));

const sent = Binding.binary(
  new CloudEvent({
    type: "org.example.plan",
    source: "/tests/cloudevents",
    datacontenttype: "application/json",
    data: JSON.parse(request),
  }),
);
const producer = kafka.producer();
await producer.connect();
// The SDK lists attributes that are not set, too.
const headers = Object.fromEntries(
  Object.entries(sent.headers).filter(([, value]) => value !== undefined),
);
const value = typeof sent.value === "string" ? sent.value : JSON.stringify(sent.value);
await producer.send({ topic: "execution.requests", messages: [{ value, headers }] });
await producer.disconnect();

const follower = new Follower(idempotencyKey);
const event = await consume(kafka, `cloudevents-${idempotencyKey}`, (message) => {
  if (!follower.take(message.value.toString())) {
    return undefined;
  }
  const headers = texts(message.headers);
  const key = message.key.toString();
  const read = Binding.toEvent({ headers, key, value: message.value.toString() });
  read.validate();
  return read;
});
console.log(
  JSON.stringify({
    execution_id: follower.executionId,
    types: follower.types,
    headers: {
      ce_id: event.id,
      ce_type: event.type,
      ce_source: event.source,
      ce_specversion: event.specversion,
      ce_time: event.time,
      ce_subject: event.subject,
      "content-type": event.datacontenttype,
    },
    data_type: event.data.type,
  }),
);
