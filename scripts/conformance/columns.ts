/**
 * The columns of the conformance matrix: every way in which a binding gives
 * AWS credentials.
 *
 * @module
 */

/** A mode of `moat bind`. */
export type Mode =
  | "process"
  | "ecs-full"
  | "ecs-full-query"
  | "ecs-relative"
  | "ecs-relative-query";

/** One column. */
export interface Column {
  /** The binding's name, too. */
  readonly name: ColumnName;
  readonly mode: Mode;
  /** Whether the token is in a file. */
  readonly tokenFile: boolean;
}

/** What columns are called. */
export type ColumnName = Mode | "ecs-full-file" | "ecs-relative-file";

const column = (mode: Mode): Column => ({ name: mode, mode, tokenFile: false });

/** All of them. */
export const COLUMNS: readonly Column[] = [
  column("process"),
  column("ecs-full"),
  { name: "ecs-full-file", mode: "ecs-full", tokenFile: true },
  column("ecs-full-query"),
  column("ecs-relative"),
  { name: "ecs-relative-file", mode: "ecs-relative", tokenFile: true },
  column("ecs-relative-query"),
];

/** How `moat bind` is told a column. */
export function bindFlags({ mode, tokenFile }: Column): string {
  return `--mode ${mode}${tokenFile ? " --token-file" : ""}`;
}
