import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import react from '@vitejs/plugin-react';

// While the page is written, a console that runs answers for it.
const server = process.env['CONSOLE_URL'] ?? 'http://127.0.0.1:8088';

export default defineConfig({
  plugins: [react()],
  // A dependency of the charts asks for Node's name of the global object.
  define: { global: 'globalThis' },
  // Named here, too: older npm does not put the stub where the lockfile says.
  resolve: {
    alias: {
      '@module-federation/enhanced/runtime': fileURLToPath(new URL('stubs/federation/runtime.js', import.meta.url)),
    },
  },
  build: {
    target: 'es2022',
    // Nothing inlined as data: what is not a file of ours, the page's policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The charts are one large part, loaded by the pages that draw.
    chunkSizeWarningLimit: 3000,
  },
  server: {
    proxy: { '/api': server, '/proxy': server },
  },
});
