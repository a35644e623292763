// Markdown as elements of React. No HTML is ever made of a message, so it cannot bring any: tags stand there as text,
// links lead to http, https and mailto only, and an image is a link, since showing it would tell its host who reads.
import { marked, type Token, type Tokens } from "marked";
import { Fragment, memo, type ReactNode } from "react";

export const Markdown = memo(({ text }: { text: string }) => <div className="markdown">{all(marked.lexer(text))}</div>);

function all(tokens: Token[] | undefined): ReactNode {
  return tokens?.map((token, index) => <Fragment key={index}>{one(token)}</Fragment>);
}

function one(token: Token): ReactNode {
  switch (token.type) {
    case "paragraph":
      return <p>{all(token.tokens)}</p>;
    case "heading":
      // The page has its own headings; those of a message are only bold.
      return <p className="heading">{all(token.tokens)}</p>;
    case "strong":
      return <strong>{all(token.tokens)}</strong>;
    case "em":
      return <em>{all(token.tokens)}</em>;
    case "del":
      return <del>{all(token.tokens)}</del>;
    case "codespan":
      return <code>{token.text}</code>;
    case "code":
      return (
        <pre tabIndex={0}>
          <code>{token.text}</code>
        </pre>
      );
    case "blockquote":
      return <blockquote>{all(token.tokens)}</blockquote>;
    case "list":
      return list(token as Tokens.List);
    case "table":
      return table(token as Tokens.Table);
    case "hr":
      return <hr />;
    case "br":
      return <br />;
    case "link":
    case "image":
      return link(token as Tokens.Link);
    case "space":
    case "def":
      return null;
    case "escape":
      return token.text;
    case "text":
      return token.tokens ? all(token.tokens) : plain(token.text);
    default:
      return token.raw;
  }
}

function list({ ordered, start, items }: Tokens.List): ReactNode {
  const children = items.map((item, index) => (
    <li key={index}>
      {item.task && <input type="checkbox" checked={!!item.checked} disabled aria-label="Task" />}
      {all(item.tokens.filter(({ type }) => type !== "checkbox"))}
    </li>
  ));
  return ordered ? <ol start={start || 1}>{children}</ol> : <ul>{children}</ul>;
}

function table({ header, rows }: Tokens.Table): ReactNode {
  return (
    <div className="table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {header.map((cell, index) => (
              <th key={index}>{all(cell.tokens)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column}>{all(cell.tokens)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function link({ href, text, tokens }: Tokens.Link): ReactNode {
  if (!/^(https?:|mailto:)/i.test(href)) return text;
  return (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {tokens?.length ? all(tokens) : text || href}
    </a>
  );
}

/** Line breaks that somebody typed are meant, and shown as such. */
function plain(text: string): ReactNode {
  return text.split("\n").flatMap((line, index) => (index ? [<br key={index} />, line] : [line]));
}
