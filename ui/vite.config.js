// Builds ui/src into crates/web/dist, from where the Rust side embeds it.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/assets/",
  // Nothing is copied as it is: every file has its hash in its name.
  publicDir: false,
  build: {
    outDir: "../crates/web/dist",
    emptyOutDir: true,
    assetsDir: "",
    // `/assets/{file}` serves one flat folder; the Rust side looks names up in this file.
    manifest: "manifest.json",
    // The content policy has no `data:` for fonts.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Vega is one big chunk, loaded by pages that have charts.
    chunkSizeWarningLimit: 1500,
    rollupOptions: { input: "src/main.ts" },
  },
});
