import type { ProfileData } from '@perses-dev/core';
import { FlameChartPanel } from '@perses-dev/flame-chart-plugin/lib/components/FlameChartPanel';
import { useMemo } from 'react';
import Perses from '../../parts/perses';
import { useWidth } from '../../parts/width';

export interface Frame {
  id: number;
  name: string;
  level: number;
  start: number;
  end: number;
  total: number;
  self: number;
  children: Frame[];
}

const SPEC = { palette: 'package-name', showSettings: true, showSeries: false, showTable: true, showFlameGraph: true } as const;
/** Of a frame, and of the chart at least, in pixels. */
const [FRAME, LEAST] = [26, 420];

/** The chart writes names into its tooltip as HTML: generic types would be taken for tags. */
function plain(frame: Frame): Frame {
  return {
    ...frame,
    name: frame.name.replaceAll('<', '‹').replaceAll('>', '›').replaceAll('&', '＆'),
    children: frame.children.map(plain),
  };
}

const depth = (frame: Frame): number => 1 + frame.children.reduce((most, child) => Math.max(most, depth(child)), 0);

export default function Flame({ tree }: { tree: Frame }) {
  const [frame, width] = useWidth<HTMLDivElement>();
  const data = useMemo<ProfileData>(
    () => ({
      profile: { stackTrace: plain(tree) },
      metadata: { spyName: 'lab', sampleRate: 100, units: 'samples', name: 'cpu' },
    }),
    [tree],
  );
  const height = Math.max(LEAST, depth(tree) * FRAME + 180);
  return (
    <div className="flame" ref={frame} style={{ height }}>
      {width > 0 && (
        <Perses>
          <FlameChartPanel
            spec={SPEC}
            contentDimensions={{ width, height }}
            queryResults={[{ data, definition: { kind: 'ProfileQuery', spec: { plugin: { kind: 'pprof', spec: {} } } } }]}
          />
        </Perses>
      )}
    </div>
  );
}
