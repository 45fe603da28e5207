/**
 * What we use of the logging library. Loaded by `import()` only; a module of
 * its own, so that the bundler can leave out all the rest.
 *
 * @module
 */

export {
  configure,
  getAnsiColorFormatter,
  getLogger,
  getTextFormatter,
} from "@logtape/logtape";
