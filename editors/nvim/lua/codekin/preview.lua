---A floating window with the code of each place; <CR> opens the one under the cursor, q closes.
local results = require("codekin.results")

local M = {}

---Lines of code shown of each place.
local EXCERPT = 12

---@param hit codekin.Hit
---@return string[]
local function excerpt(hit)
  local path = vim.uri_to_fname(hit.uri)
  local buffer = vim.fn.bufnr(path)
  local last = math.min(hit.end_line, hit.code_line + EXCERPT - 1)
  local lines
  if buffer ~= -1 and vim.api.nvim_buf_is_loaded(buffer) then
    lines = vim.api.nvim_buf_get_lines(buffer, hit.code_line - 1, last, false)
  elseif vim.fn.filereadable(path) == 1 then
    lines = vim.list_slice(vim.fn.readfile(path, "", last), hit.code_line, last)
  else
    lines = { "(the file cannot be read)" }
  end
  if last < hit.end_line then
    table.insert(lines, "…")
  end
  return lines
end

---@param hits codekin.Hit[]
---@return string[] lines
---@return table<integer, codekin.Hit> owners the place that each line belongs to
local function render(hits)
  local lines, owners = {}, {}
  for _, hit in ipairs(hits) do
    local block = { results.label(hit), "```" .. hit.language }
    vim.list_extend(block, excerpt(hit))
    vim.list_extend(block, { "```", "" })
    for _, line in ipairs(block) do
      table.insert(lines, (line:gsub("[\r\n]", " ")))
      owners[#lines] = hit
    end
  end
  return lines, owners
end

---@param title string
---@param hits codekin.Hit[]
---@return integer window
function M.open(title, hits)
  local lines, owners = render(hits)
  local buffer, window = vim.lsp.util.open_floating_preview(lines, "markdown", {
    border = "rounded",
    title = title,
    focusable = true,
    focus_id = "codekin",
    wrap = false,
    max_height = math.max(vim.o.lines - 6, 5),
    max_width = math.max(vim.o.columns - 6, 20),
    close_events = { "BufHidden" },
  })
  vim.api.nvim_set_current_win(window)
  vim.keymap.set("n", "q", "<Cmd>close<CR>", { buffer = buffer, nowait = true })
  vim.keymap.set("n", "<CR>", function()
    local hit = owners[vim.api.nvim_win_get_cursor(window)[1]]
    vim.api.nvim_win_close(window, true)
    results.open(hit)
  end, { buffer = buffer, nowait = true })
  return window
end

return M
