/**
 * XML of the AWS query protocol: elements and text, nothing else.
 *
 * @module
 */

/** The namespace of STS's answers. */
const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

/** Text, or child elements in their order; an undefined child is left out. */
export type XmlContent = string | {
  readonly [name: string]: XmlContent | undefined;
};

/**
 * Writes an answer's document.
 *
 * @param name The root element's name, such as `AssumeRoleResponse`.
 * @param content Its children.
 * @returns The document, without an XML declaration, as STS answers.
 */
export function renderXml(name: string, content: XmlContent): string {
  return `<${name} xmlns="${NAMESPACE}">${inner(content, "")}</${name}>\n`;
}

function inner(content: XmlContent, indent: string): string {
  if (typeof content === "string") return escapeText(content);
  const deeper = `${indent}  `;
  const children = Object.entries(content).map(([name, child]) =>
    child === undefined
      ? ""
      : `\n${deeper}<${name}>${inner(child, deeper)}</${name}>`
  );
  return `${children.join("")}\n${indent}`;
}

const ENTITIES: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

/** Characters that XML 1.0 cannot hold in any form (section 2.2). */
// deno-lint-ignore no-control-regex
const NOT_XML = /[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Surrogate}/gu;

function escapeText(text: string): string {
  return text.replace(/[&<>"]/g, (char) => ENTITIES[char] ?? "")
    .replace(/\r/g, "&#13;").replace(NOT_XML, "\ufffd");
}
