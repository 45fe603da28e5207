import assert from "node:assert/strict";
import { type Partition, pickRegion } from "./region.ts";

const unset = { region: undefined, from: "--region" };

const DEFAULTS: [Partition, string][] = [
  ["aws", "us-east-1"],
  ["aws-cn", "cn-north-1"],
  ["aws-us-gov", "us-gov-west-1"],
  ["aws-iso", "us-iso-east-1"],
  ["aws-iso-b", "us-isob-east-1"],
  ["aws-iso-e", "eu-isoe-west-1"],
  ["aws-iso-f", "us-isof-south-1"],
  ["aws-eusc", "eusc-de-east-1"],
];
for (const [partition, region] of DEFAULTS) {
  Deno.test(`pickRegion() takes ${region} when nothing names one in ${partition}`, () => {
    assert.equal(pickRegion(partition, [unset]), region);
  });
  Deno.test(`pickRegion() knows that ${region} is in ${partition}`, () => {
    const choice = { region, from: "--region" };
    assert.equal(pickRegion(partition, [choice]), region);
  });
}

Deno.test("pickRegion() takes the first choice that is set", () => {
  const region = pickRegion("aws", [
    unset,
    { region: "eu-central-1", from: "AWS_REGION" },
    { region: "eu-west-1", from: "a profile" },
  ]);
  assert.equal(region, "eu-central-1");
});

const BAD: { partition: Partition; region: string; says: string }[] = [
  { partition: "aws-cn", region: "us-east-1", says: '"aws"' },
  { partition: "aws", region: "cn-north-1", says: '"aws-cn"' },
  { partition: "aws", region: "us-gov-west-1", says: '"aws-us-gov"' },
  { partition: "aws-iso", region: "us-isob-east-1", says: '"aws-iso-b"' },
  { partition: "aws", region: "nowhere", says: "eu-central-1" },
  { partition: "aws", region: "us-east-1.evil.example", says: "eu-central-1" },
];
for (const { partition, region, says } of BAD) {
  Deno.test(`pickRegion() refuses ${region} for ${partition}`, () => {
    assert.throws(
      () => pickRegion(partition, [{ region, from: "AWS_REGION" }]),
      (error: Error) =>
        error.message.includes(says) && error.message.includes("AWS_REGION"),
    );
  });
}
