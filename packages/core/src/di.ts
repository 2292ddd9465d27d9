/**
 * The only module of the project that imports tsyringe: it loads the reflection polyfill first (tsyringe refuses to
 * load without it) and hands on the decorators that plugins need. One import place also means one copy of tsyringe;
 * two copies do not see each other's `@injectable()` classes.
 *
 * @packageDocumentation
 */
import "reflect-metadata";

export { container, type DependencyContainer, inject, injectable, Lifecycle } from "tsyringe";
