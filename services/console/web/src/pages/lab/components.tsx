import { Link } from 'react-router-dom';
import type { Lab, LabComponent } from '../../api/lab';
import { since } from '../../parts/format';
import { Problem } from '../../parts/state';
import { Table } from '../../parts/table';
import { healthOf, phaseText } from './health';

/** Everything that runs, with what is still being prepared. */
export function Components({ lab }: { lab: Lab }) {
  if (lab.components_problem) {
    return <Problem what="The state of the components is not known" error={lab.components_problem} />;
  }
  if (lab.components.length === 0) return null;
  const here = lab.components.filter(({ phase }) => phase !== 'compose-only');
  const images = lab.components.filter(({ phase }) => phase === 'compose-only');
  return (
    <section className="card">
      <h2>Components</h2>
      <Table columns={['name', 'state', 'for', 'program', 'address']}>
        {here.map((component) => (
          <Row key={component.name} component={component} />
        ))}
      </Table>
      {images.length > 0 && (
        <p className="note">In the compose stack only: {images.map(({ name }) => name).join(', ')}.</p>
      )}
    </section>
  );
}

function Row({ component }: { component: LabComponent }) {
  const health = healthOf(component);
  const more = [component.detail, component.notice, component.hint].filter((text) => text !== null);
  return (
    <tr>
      <th scope="row">
        <Link to={`/services/${component.name}`}>{component.name}</Link>
      </th>
      <td>
        <span className="nowrap">
          <span className={`dot ${health}`} aria-hidden="true" /> {phaseText(component.phase)}
        </span>
        {more.map((text) => (
          <div key={text} className="note">
            {text}
          </div>
        ))}
      </td>
      <td className="nowrap">{since(component.since)}</td>
      <td>{component.source}</td>
      <td>
        {component.address?.startsWith('http') ? (
          <a href={component.address} target="_blank" rel="noreferrer">
            {component.address}
          </a>
        ) : (
          <code>{component.address}</code>
        )}
      </td>
    </tr>
  );
}
